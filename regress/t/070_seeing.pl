# Conflicts are counted by table and kind and named in the error; concord.stat_activity tells what each session waits for, while the
# sidecar is stopped and while a writer of the same row is open.
use strict;
use warnings;
use ConcordTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

my $node = new_cluster('main', "concord.commit_timeout = '100s'\nconcord.read_timeout = '100s'\n");
my $dir = PostgreSQL::Test::Utils::tempdir();
$node->safe_psql('postgres', q{
	CREATE TABLE t (a int PRIMARY KEY, b int);
	INSERT INTO t SELECT g, 0 FROM generate_series(1, 10) g;
	CREATE TABLE other (a int);
	CREATE ROLE somebody;
	SELECT concord.stat_reset();
});

# A session that does $first, lets $between be done by another one, and goes on with $second.
sub interleave
{
	my ($name, $first, $between, $second) = @_;
	my $session = start_session($node, $name, qq{
SET concord.local_intents = off;
$first
\\! touch $dir/$name.ready; while [ ! -e $dir/$name.go ]; do sleep 0.05; done
$second
});
	ok(wait_until(sub { -e "$dir/$name.ready" }), "$name is under way");
	$node->safe_psql('postgres', "SET concord.local_intents = off; $between");
	append_to_file("$dir/$name.go", '');
	$session->{handle}->finish;
	return $session->{err};
}

sub conflicts
{
	my ($kind) = @_;
	return $node->safe_psql('postgres',
		"SELECT relation, index, conflicts, last_conflict <= now() FROM concord.stat_conflicts WHERE kind = '$kind' AND datname = 'postgres'");
}

my $err = interleave('row', 'BEGIN; UPDATE t SET b = 1 WHERE a = 1;', 'UPDATE t SET b = 2 WHERE a = 1', 'COMMIT;');
like($err, qr/40001: change conflicts with another transaction \(OC000\)/, 'a row conflicts');
like($err, qr/DETAIL: .*row of table "t"/, 'the error names the table');
like($err, qr/TABLE NAME: +t\n/, 'also for programs');
is(conflicts('row'), 't||1|t', 'a conflict over a row is counted');

$err = interleave('unique', 'BEGIN; INSERT INTO t VALUES (11, 1);', 'INSERT INTO t VALUES (11, 2)', 'COMMIT;');
like($err, qr/40001: .*\n.*DETAIL: .*unique index "t_pkey" of table "t"/, 'a unique key conflicts');
is(conflicts('unique key'), 't|t_pkey|1|t', 'and is counted for its index');

$err = interleave('lock', 'BEGIN; SELECT FROM t WHERE a = 2 FOR SHARE; INSERT INTO other VALUES (1);',
	'UPDATE t SET b = 2 WHERE a = 2', 'COMMIT;');
like($err, qr/40001: .*\n.*DETAIL: .*row of table "t" that this one relies on/, 'a lock conflicts');
is(conflicts('row lock'), 't||1|t', 'and is counted as a lock');

$err = interleave('snapshot', 'BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM t;', 'UPDATE t SET b = 3 WHERE a = 3',
	'UPDATE t SET b = 4 WHERE a = 3; COMMIT;');
like($err, qr/40001: could not serialize access/, 'an older snapshot conflicts');
is(conflicts('snapshot'), 't||1|t', 'and is counted');

is($node->safe_psql('postgres', 'SELECT conflicts, too_old, refused, unknown FROM concord.stat_commits'), '3|0|0|0',
	'three commits were refused');
is($node->safe_psql('template1', 'CREATE EXTENSION concord; SELECT count(relation), sum(conflicts) FROM concord.stat_conflicts'), '0|4',
	'another database sees the counts, and no names');

# What the named session waits for; an empty string if it does not.
sub waits_for
{
	my ($name, $columns) = @_;
	return $node->safe_psql('postgres',
		'SELECT ' . ($columns // 'wait') . " FROM concord.stat_activity WHERE application_name = '$name'");
}

my $writer = start_session($node, 'writer',
	"BEGIN; UPDATE t SET b = 5 WHERE a = 5;\n\\! touch $dir/w.ready; while [ ! -e $dir/w.go ]; do sleep 0.05; done\nCOMMIT;");
ok(wait_until(sub { -e "$dir/w.ready" }), 'a writer is open');
my $second = start_session($node, 'second', 'UPDATE t SET b = 6 WHERE a = 5;');
ok(wait_until(sub { waits_for('second') eq 'local intent' }), 'a second writer waits for it');
is(waits_for('second', "blocked_by = (SELECT pid FROM pg_stat_activity WHERE application_name = 'writer')"), 't', 'and says for whom');
is(waits_for('second', 'since <= now()'), 't', 'and since when');
is($node->safe_psql('postgres', 'SET ROLE somebody; SELECT count(*), count(wait), count(blocked_by) FROM concord.stat_activity'), '1|0|0',
	'others do not see what a session waits for');
append_to_file("$dir/w.go", '');
$_->{handle}->finish for $writer, $second;
is(waits_for('second') . waits_for('writer'), '', 'nobody waits any more');

# What an old snapshot keeps: the horizon stays at or below it, while the replica goes on.
my $old = start_session($node, 'old',
	"BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM t;\n\\! touch $dir/o.ready; while [ ! -e $dir/o.go ]; do sleep 0.05; done\nCOMMIT;");
ok(wait_until(sub { -e "$dir/o.ready" }), 'a reader is open');
$node->safe_psql('postgres', "UPDATE t SET b = $_ WHERE a = 7") foreach 1 .. 5;
is($node->safe_psql('postgres', q{SELECT horizon_lsn <= read_lsn, applied_lsn > read_lsn, horizon_lag_ms > lag_ms
	FROM concord.stat_replicas, concord.readers JOIN pg_stat_activity USING (pid) WHERE application_name = 'old'}), 't|t|t',
	'the horizon is behind the reader, what is applied is ahead of it');
append_to_file("$dir/o.go", '');
$old->{handle}->finish;

cmp_ok($node->safe_psql('postgres', 'SELECT count(*) FROM concord.stat_conflicts'), '>', 0, 'conflicts are counted until the reset');
$node->safe_psql('postgres', 'SELECT concord.stat_reset()');
is($node->safe_psql('postgres', 'SELECT count(*) FROM concord.stat_conflicts'), '0', '... and none after it');
my $sidecar = sidecar_pid($node);
kill 'STOP', $sidecar;
my $commit = start_session($node, 'commit', 'INSERT INTO t VALUES (100, 1);');
ok(wait_until(sub { waits_for('commit') =~ /^(commit verdict|read LSN)$/ }), 'a commit waits');
my $reader = start_session($node, 'reader', "SELECT pg_sleep(4);\nSELECT count(*) FROM t;");
ok(wait_until(sub { waits_for('reader') eq 'read LSN' }), 'a reader waits for a read LSN once nobody vouches for the page');
my $canceled = start_session($node, 'canceled', "SELECT count(*) FROM t;\n\\! touch $dir/c.ready; while [ ! -e $dir/c.go ]; do sleep 0.05; done");
ok(wait_until(sub { waits_for('canceled') eq 'read LSN' }), 'another one too');
$node->safe_psql('postgres', "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name = 'canceled'");
ok(wait_until(sub { -e "$dir/c.ready" }), 'it is cancelled');
is(waits_for('canceled'), '', 'and waits no more');
append_to_file("$dir/c.go", '');
is($node->safe_psql('postgres', 'SELECT name, is_local, lag_ms IS NULL FROM concord.stat_replicas'), 'storage|t|t',
	'the replica is listed while the sidecar does not answer');
is($node->safe_psql('postgres', "SELECT count(*) > 1 FROM concord.stat_storage"), 't', 'and so is storage');
kill 'CONT', $sidecar;
$_->{handle}->finish for $commit, $reader, $canceled;
is($commit->{err}, '', 'the commit is through');
is($node->safe_psql('postgres', 'SELECT commits FROM concord.stat_commits'), '1', 'and counted');
is($node->safe_psql('postgres', 'SELECT count(*) FROM concord.stat_activity'), '0', 'nobody waits');

# The other waits. What is to wait for more than a read LSN is begun while the page is still vouched for. Ids of storage are leased 16 at
# a time.
$node->safe_psql('postgres', 'CREATE TABLE wide (a text)');
my $load = start_session($node, 'load', "BEGIN ISOLATION LEVEL REPEATABLE READ; INSERT INTO wide VALUES ('first');\n"
	  . "\\! touch $dir/l.ready; while [ ! -e $dir/l.go ]; do sleep 0.05; done\n"
	  . q{INSERT INTO wide SELECT string_agg(md5(g::text), '') FROM generate_series(1, 100000) g; COMMIT;});
ok(wait_until(sub { -e "$dir/l.ready" }), 'a large transaction is open');
$sidecar = sidecar_pid($node);
kill 'STOP', $sidecar;
append_to_file("$dir/l.go", '');
my $create = start_session($node, 'create', join '', map { "CREATE TABLE made$_ (a int);\n" } 1 .. 20);
my $sweep = start_session($node, 'sweep', "SELECT pg_sleep(4);\nSELECT concord.sweep();");
my $status = start_session($node, 'status', 'SELECT sidecar FROM concord.status;');
my %expected = (load => 'chunk', create => 'internal commit', sweep => 'sweeper', status => 'status');
my %seen;
wait_until(sub {
	foreach my $line (split /\n/, $node->safe_psql('postgres', 'SELECT application_name, wait FROM concord.stat_activity'))
	{
		my ($name, $wait) = split /\|/, $line;
		$seen{$name} = $wait if $wait eq ($expected{$name} // '') || !$seen{$name};
	}
	return !grep { ($seen{$_} // '') ne $expected{$_} } keys %expected;
}, 20);
is($seen{$_} // 'nothing', $expected{$_}, "$_ waits for $expected{$_}") foreach sort keys %expected;
kill 'CONT', $sidecar;
$_->{handle}->finish for $load, $create, $sweep, $status;
is($_->{err}, '', 'it is through') foreach $load, $create;
is($node->safe_psql('postgres', 'SELECT count(*), max(length(a)) FROM wide'), '2|3200000', 'all of it');

# LSNs are written in one way, SQL's.
my $log = slurp_file($node->logfile);
like($log, qr/leading: .* last_lsn=[0-9A-F]+\/[0-9A-F]+ /, 'the log writes LSNs as SQL does');
unlike($log, qr/lsn[= ]"?[0-9a-fx]+\b(?!\/)/i, 'all of them');

done_testing();
