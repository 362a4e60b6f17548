# A server whose reads go to storage replicas on other machines, as far as it can tell: three storage processes, read through the
# gateway. All of SQL works so; not every row costs a request; and whichever replica dies, stops or lags, no query fails while
# another one can answer.
use strict;
use warnings;
use ConcordCluster;
use ConcordTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $cluster = ConcordCluster->new(journals => 1, write_quorum => 1, adjudicators => 1, storages => 3);
my $node = $cluster->start_server('main');
ok(wait_until(sub { $node->safe_psql('postgres', "SELECT count(*) FROM concord.replicas WHERE state = 'well'") eq '3' }), 'three replicas are well');
is($node->safe_psql('postgres', 'SELECT count(*) FROM concord.replicas WHERE is_local'), '1', '... of which one is found to be here');
is($node->safe_psql('postgres', 'SELECT reads FROM concord.stat_reads'), '0', '... and read through its files');

sub reads { return remote_reads($node); }

sub remotely
{
	my ($sql, %options) = @_;
	return $node->safe_psql('postgres', "SET concord.local_reads = off; SET max_parallel_workers_per_gather = 0; $sql", %options);
}

sub costs
{
	my ($what, $sql, $expected, $limit) = @_;
	my $before = reads();
	is(remotely($sql), $expected, $what);
	my $cost = reads() - $before;
	note("$what: $cost requests");
	cmp_ok($cost, '>', 0, '... by requests');
	cmp_ok($cost, '<=', $limit, "... not more than $limit of them");
}

$node->safe_psql('postgres', q{
	CREATE TABLE p (id int PRIMARY KEY, name text);
	CREATE TABLE c (id int PRIMARY KEY, p int REFERENCES p, v int, pad text);
	INSERT INTO p SELECT i, 'p' || i FROM generate_series(1, 1000) i;
	INSERT INTO c SELECT i, i % 1000 + 1, (i * 7919::bigint) % 20000, repeat('x', 100) FROM generate_series(1, 20000) i;
	CREATE INDEX c_v ON c (v);
	ANALYZE p, c;
});

# ---- batches ----
costs('a sequential scan', 'SELECT count(*), sum(v) FROM c', $node->safe_psql('postgres', 'SELECT count(*), sum(v) FROM c'), 60);
costs('a range of an index, with its rows', 'SET enable_seqscan = off; SET enable_bitmapscan = off; SELECT count(pad) FROM c WHERE v < 10000', '10000', 60);
costs('the same backward', 'SET enable_seqscan = off; SET enable_bitmapscan = off; SELECT count(*) FROM (SELECT pad FROM c WHERE v < 10000 ORDER BY v DESC) s', '10000', 60);
costs('an index-only scan', 'SET enable_seqscan = off; SET enable_bitmapscan = off; SELECT count(v) FROM c WHERE v < 10000', '10000', 40);
costs('a bitmap scan of rows far from each other', 'SET enable_seqscan = off; SET enable_indexscan = off; SELECT count(pad) FROM c WHERE v IN (SELECT i * 31 FROM generate_series(1, 600) i) OR v BETWEEN 100 AND 1100',
	$node->safe_psql('postgres', 'SELECT count(pad) FROM c WHERE v IN (SELECT i * 31 FROM generate_series(1, 600) i) OR v BETWEEN 100 AND 1100'), 60);
costs('a bitmap scan', 'SET enable_seqscan = off; SET enable_indexscan = off; SELECT count(pad) FROM c WHERE v BETWEEN 100 AND 1100', '1001', 20);
costs('a nested loop that asks for a few keys again and again', 'SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_memoize = off; SET enable_material = off;
	SELECT count(p.name) FROM generate_series(1, 2000) g JOIN p ON p.id = g % 10 + 1', '2000', 40);
costs('a sample', 'SELECT count(*) >= 0 FROM c TABLESAMPLE BERNOULLI (50)', 't', 150);
costs('a lookup by key', 'SELECT name FROM p WHERE id = 77', 'p77', 8);

# ---- all the rest of SQL ----
is(remotely('UPDATE c SET v = v + 1 WHERE id <= 100; SELECT count(*) FROM c WHERE id <= 100 AND v = (id * 7919::bigint) % 20000 + 1'), '100', 'UPDATE');
is(remotely('DELETE FROM c WHERE id > 19900; SELECT count(*) FROM c'), '19900', 'DELETE');
is(remotely("INSERT INTO c SELECT i, 1, i, 'new' FROM generate_series(30001, 30500) i; SELECT count(*) FROM c WHERE pad = 'new'"), '500', 'INSERT');
foreach my $wrong ([ 'INSERT INTO c VALUES (1, 1, 1)', qr/duplicate key value violates unique constraint "c_pkey"/ ],
	[ 'INSERT INTO c VALUES (99999, 99999, 1)', qr/violates foreign key constraint/ ], [ 'DELETE FROM p WHERE id = 1', qr/violates foreign key constraint/ ])
{
	my ($code, undef, $err) = $node->psql('postgres', "SET concord.local_reads = off; $wrong->[0]");
	like($err, $wrong->[1], "refused: $wrong->[0]");
}
remotely('CREATE INDEX c_pad ON c (pad, id); VACUUM ANALYZE c; REINDEX TABLE p; ALTER TABLE p ADD COLUMN extra int DEFAULT 5; VACUUM FULL c');
is(remotely('SET enable_seqscan = off; SELECT count(*) FROM c WHERE pad = \'new\' AND id > 30100'), '400', 'a new index');
is(remotely('SELECT sum(extra) FROM p'), '5000', 'a new column');
is(remotely('BEGIN; DECLARE d SCROLL CURSOR FOR SELECT id FROM p ORDER BY id; FETCH 3 FROM d; FETCH ABSOLUTE 500 FROM d; FETCH BACKWARD 2 FROM d; CLOSE d; COMMIT'),
	"1\n2\n3\n500\n499\n498", 'a cursor that goes back');
remotely("CREATE TABLE big (id int PRIMARY KEY, b text); ALTER TABLE big ALTER b SET STORAGE EXTERNAL; INSERT INTO big VALUES (1, repeat('abc', 3000000)), (2, 'small')");
is(remotely("SELECT id, length(b), md5(b) = md5(repeat('abc', 3000000)) FROM big ORDER BY id"), "1|9000000|t\n2|5|f", 'a value that comes in parts');
is(remotely("SELECT length(b) FROM big WHERE id = 1"), '9000000', '... also by its key');

# ---- failures ----
# Sessions that read and write without a pause, until the table go_on is gone. None of their statements may fail.
my $stamps = PostgreSQL::Test::Utils::tempdir();
sub start_load
{
	my ($count) = @_;
	$node->safe_psql('postgres', 'CREATE TABLE go_on () USING heap');
	return map {
		my $n = $_;
		my $script = "$stamps/load$n.sql";
		unlink $script;
		append_to_file($script, "SELECT 1 / count(*) FROM pg_class WHERE relname = 'go_on';\n\\set id random(1, 1000)\nSELECT name, extra FROM p WHERE id = :id;\nSELECT count(*) FROM c WHERE p = :id;\nUPDATE p SET extra = extra + 1 WHERE id = :id;\n");
		my $load = { out => '', err => '', log => "$stamps/log$n" };
		$load->{handle} = IPC::Run::start([ 'env', 'PGOPTIONS=-c concord.local_reads=off', 'pgbench', '-n', '-c', '1', '-T', '600', '-f', $script, '--max-tries=100', '-l', "--log-prefix=$load->{log}",
				'-d', $node->connstr('postgres') ], '<', \undef, '>', \$load->{out}, '2>', \$load->{err});
		$load;
	} 1 .. $count;
}

# Transactions done, and the longest of them, in ms; from pgbench's logs.
sub durations
{
	my (@loads) = @_;
	my ($done, $longest) = (0, 0);
	foreach my $load (@loads)
	{
		foreach my $file (glob "$load->{log}.*")
		{
			foreach my $line (split /\n/, slurp_file($file))
			{
				my (undef, undef, $us) = split / /, $line;
				next unless defined $us && $us =~ /^\d+$/;
				$done++;
				$longest = $us / 1000 if $us / 1000 > $longest;
			}
		}
	}
	return ($done, $longest);
}

# The load goes on after the event, and nothing of it fails.
sub survives
{
	my ($what, $event, $undo) = @_;
	my @loads = start_load(2);
	my $count = sub { $node->safe_psql('postgres', 'SELECT sum(extra) FROM p') };
	my $goes_on = sub { my $before = $count->(); wait_until(sub { $count->() > $before + 20 }, 120) };
	ok($goes_on->(), "$what: transactions before");
	$event->();
	ok($goes_on->(), '... and after');
	$undo->() if $undo;
	$node->safe_psql('postgres', 'DROP TABLE go_on');
	foreach my $load (@loads)
	{
		eval { $load->{handle}->finish; 1 };
		unlike($load->{err} =~ s/.*division by zero.*//r, qr/ERROR|FATAL/, '... of which none failed') or diag($load->{err});
	}
	my ($done, $longest) = durations(@loads);
	cmp_ok($done, '>', 40, '... of many');
	note(sprintf('%s: %d transactions, the longest took %.0f ms', $what, $done, $longest));
	unlink glob("$stamps/log*");
}

sub state_of { my ($replica) = @_; return $node->safe_psql('postgres', "SELECT state FROM concord.replicas WHERE address = '" . $cluster->address($replica) . "'"); }

foreach my $replica ('s1', 's2', 's3')
{
	survives("kill -9 of $replica", sub { $cluster->kill($replica, 'KILL') });
	ok(wait_until(sub { state_of($replica) eq 'left' || state_of($replica) eq 'silent' }), '... which is seen to be gone');
	$cluster->start($replica);
	ok(wait_until(sub { state_of($replica) eq 'well' }), '... and comes back');
}
foreach my $replica ('s1', 's2', 's3')
{
	survives("SIGSTOP of $replica", sub { $cluster->signal($replica, 'STOP') }, sub { $cluster->signal($replica, 'CONT') });
	ok(wait_until(sub { state_of($replica) eq 'well' }), '... and goes on');
}

# ---- a scan that a replica leaves in the middle ----
{
	my $session = start_session($node, 'scan', "SET concord.local_reads = off; BEGIN ISOLATION LEVEL REPEATABLE READ; DECLARE d CURSOR FOR SELECT id FROM c ORDER BY id;\n"
		  . "FETCH 100 FROM d \\g /dev/null\nSELECT pg_sleep(3);\n" . "FETCH ALL FROM d \\g $stamps/rest\nCOMMIT;");
	ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE application_name = 'scan' AND wait_event = 'PgSleep'"), 'a scan in the middle');
	$node->safe_psql('postgres', 'DELETE FROM c WHERE id % 2 = 0');
	$cluster->kill($_, 'KILL') foreach 's1', 's2';
	$session->{handle}->finish;
	is($session->{err}, '', '... goes on at another replica');
	is(scalar(grep { /^\d+$/ } split /\n/, slurp_file("$stamps/rest")), 20300, '... with what its snapshot sees');
	$cluster->start($_) foreach 's1', 's2';
	ok(wait_until(sub { state_of('s1') eq 'well' && state_of('s2') eq 'well' }), 'the others come back');
}

# ---- the replica of this machine lags ----
{
	is($node->safe_psql('postgres', 'SELECT count(*) FROM c'), '10200', 'read through the files');
	my $before = reads();
	$cluster->signal('s1', 'STOP');
	$node->safe_psql('postgres', 'INSERT INTO c SELECT i, 1, 1 FROM generate_series(40001, 40010) i');
	is($node->safe_psql('postgres', 'SELECT count(*) FROM c'), '10210', 'what it has not applied is read elsewhere');
	cmp_ok(reads(), '>', $before, '... through the gateway');
	$cluster->signal('s1', 'CONT');
	ok(wait_until(sub { my $n = reads(); $node->safe_psql('postgres', 'SELECT count(*) FROM c'); reads() == $n }), '... until it has caught up');
}

# ---- none is left ----
{
	$cluster->kill($_, 'KILL') foreach 's1', 's2', 's3';
	my ($code, undef, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\nSET concord.local_reads = off; SET concord.read_timeout = '2s'; SELECT count(*) FROM c");
	like($err, qr/ERROR:  08006: Concord's sidecar is not available: no storage replica answered within concord.read_timeout/, 'all dead: an error');
	like($err, qr/HINT:  Check that the storage replicas run and are reached at ".*s1.*s2.*s3.*"; concord.replicas shows what is known of each/, '... with a hint');
	like($err, qr/DETAIL:  The storage replica at "\S*s1\S*": /, '... and what is wrong');
	my $begin = time;
	($code, undef, $err) = $node->psql('postgres', "SET concord.local_reads = off; SET statement_timeout = '500ms'; SELECT count(*) FROM c");
	like($err, qr/canceling statement due to statement timeout/, '... and who waits can be cancelled');
	my $session = start_session($node, 'waits', 'SET concord.local_reads = off; SELECT count(*) FROM c');
	ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM concord.stat_activity WHERE application_name = 'waits' AND wait = 'remote read'"), '... it is seen what it waits for');
	$node->safe_psql('postgres', "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'waits'");
	eval { $session->{handle}->finish; 1 };
	like($session->{err}, qr/terminating connection due to administrator command/, '... and terminated');
	$session = start_session($node, 'patient', 'SET concord.local_reads = off; SELECT count(*) FROM c');
	ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM concord.stat_activity WHERE application_name = 'patient' AND wait = 'remote read'"), '... or waits');
	$cluster->start('s2');
	$session->{handle}->finish;
	like($session->{out}, qr/^10210$/m, '... until one is back') or diag($session->{err});
	$cluster->start($_) foreach 's1', 's3';
}

# ---- the gateway is started anew ----
{
	my ($pid) = $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE backend_type = 'concord gateway'");
	my $session = start_session($node, 'gateway', "SET concord.local_reads = off; SELECT count(*) FROM c;\nSELECT pg_sleep(2);\nSELECT count(*) FROM c;");
	ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE application_name = 'gateway' AND wait_event = 'PgSleep'"), 'a session that has read');
	kill 'TERM', $pid;
	$session->{handle}->finish;
	is(scalar(() = $session->{out} =~ /^10210$/mg), 2, 'a session outlives the gateway') or diag($session->{err});
}

$node->stop;
$cluster->stop;
done_testing();
