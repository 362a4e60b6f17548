# What a session that waits for the sidecar can be interrupted with: each within seconds, and the outcome is certain or said
# not to be. The server stops within seconds whatever the sidecar does.
use strict;
use warnings;
use ConcordTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $node = new_cluster('main', "concord.commit_timeout = '60s'\nconcord.read_timeout = '60s'\n");
$node->safe_psql('postgres', 'CREATE TABLE t (a int PRIMARY KEY, b text); INSERT INTO t VALUES (0, \'first\')');

# Waits for the session's end; returns its seconds since $start.
sub finish
{
	my ($session, $start) = @_;
	$session->{handle}->finish;
	return time - $start;
}

sub signal_session
{
	my ($function, $name) = @_;
	is($node->safe_psql('postgres', "SELECT $function(pid) FROM pg_stat_activity WHERE application_name = '$name'"), 't',
		"$function reaches $name");
}

# True when the session waits for the gateway (or the replica) in the given statement.
sub waits
{
	my ($name) = @_;
	my $waiting = wait_until(sub {
			$node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE application_name = '$name'
			  AND wait_event_type = 'Extension' AND state = 'active'") eq '1'
		}, 20);
	sleep 0.3;
	return $waiting;
}

sub rows
{
	my ($where) = @_;
	return $node->safe_psql('postgres', "SELECT count(*) FROM t WHERE $where");
}

# The write set has been sent to a sidecar that does not answer: a cancel request waits with it, but the end of the session is
# near.
my $sidecar = sidecar_pid($node);
my $commit = start_session($node, 'sent', "BEGIN; INSERT INTO t VALUES (1, 'sent'); SELECT pg_sleep(1);\nCOMMIT;");
sleep 0.5;
kill 'STOP', $sidecar;
ok(waits('sent'), 'the commit waits for a stopped sidecar');
sleep 1;
signal_session('pg_cancel_backend', 'sent');
sleep 1;
$commit->{handle}->pump_nb;
is($commit->{err}, '', 'a cancel request waits for the verdict');
signal_session('pg_terminate_backend', 'sent');
my $took = finish($commit, time);
cmp_ok($took, '<', 6, "pg_terminate_backend ended it after $took s");
like($commit->{err}, qr/08007/, '... with the outcome unknown');

# A cancel request, while nobody knows of the write set but this server.
kill 'CONT', $sidecar;
ok(wait_ready($node), 'it goes on');
my $unknown = rows('a = 1');
ok($unknown eq '0' || $unknown eq '1', "the transaction of unknown outcome is there whole or not at all: $unknown");
is(rows('a = 0'), '1', 'the rest is there');

# Reads, and what runs within a statement, obey statement_timeout and cancel requests.
kill 'STOP', $sidecar;
sleep 4;    # the LSN page's lease ends
my $start = time;
my $read = start_session($node, 'reads', "SET statement_timeout = '1s';\nSELECT count(*) FROM t;\nSET statement_timeout = 0;\nSELECT count(*) FROM t;");
ok(wait_until(sub { $read->{handle}->pump_nb; $read->{err} =~ /57014/ }, 10), 'statement_timeout ends a read that waits');
cmp_ok(time - $start, '<', 5, '... in time');
ok(waits('reads'), 'the next one waits');
signal_session('pg_cancel_backend', 'reads');
$took = finish($read, time);
cmp_ok($took, '<', 3, "pg_cancel_backend ends a read after $took s");
is(() = $read->{err} =~ /57014/g, 2, '... both with 57014');

my $lease = start_session($node, 'leases', "SET statement_timeout = '1s';\n"
	. "DO \$\$ BEGIN FOR i IN 1..20 LOOP EXECUTE format('CREATE TABLE leased%s (a int)', i); END LOOP; END \$\$;");
$took = finish($lease, time);
cmp_ok($took, '<', 4, "statement_timeout ends a lease of ids after $took s");
like($lease->{err}, qr/57014/, '... with 57014');
kill 'CONT', $sidecar;
ok(wait_ready($node), 'it goes on');

# A session that is ended while workers see what it has written leaves nothing of that to the next one in its place.
my $parallel = "SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;\n";
$node->safe_psql('postgres', 'CREATE TABLE big (a int); INSERT INTO big SELECT generate_series(1, 20000); ANALYZE big');
my $leader = start_session($node, 'leader', $parallel . "BEGIN; INSERT INTO big VALUES (0);\nSELECT count(pg_sleep(0.01)) FROM big;");
ok(wait_until(sub { $node->safe_psql('postgres', "SELECT count(*) > 0 FROM pg_stat_activity WHERE backend_type = 'parallel worker'") eq 't' }),
	'workers run');
is($node->safe_psql('postgres', "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'leader'
  AND backend_type = 'client backend'"), 't', 'their session is ended');
finish($leader, time);
ok(wait_until(sub { $node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'leader'") eq '0' }), '... is gone');
sleep 0.5;
my @next = map { start_session($node, "next$_", $parallel . "SELECT pg_sleep(1);\nSELECT count(*) FROM big;") } 1 .. 3;
$_->{handle}->finish foreach @next;
is(join('', map { $_->{err} . (split /\n/, $_->{out})[-1] . "\n" } @next), "20000\n" x 3, 'parallel queries go on in its place');

# No sidecar at all: nothing can have been decided, so everything can be interrupted.
my $delayed = start_session($node, 'unsent', "BEGIN; INSERT INTO t VALUES (2, 'unsent'); SELECT pg_sleep(3);\nCOMMIT;\nSELECT 'alive';");
my $delayed_term = start_session($node, 'unsent_end', "BEGIN; INSERT INTO t VALUES (3, 'unsent'); SELECT pg_sleep(3);\nCOMMIT;");
my $delayed_timeout = start_session($node, 'unsent_timeout', "SELECT pg_sleep(1); SET statement_timeout = '5s';\n"
	. "DO \$\$ BEGIN INSERT INTO t VALUES (4, 'unsent'); PERFORM pg_sleep(2); COMMIT; END \$\$;");
sleep 1.5;
$node->append_conf('postgresql.conf', "concord.daemon_path = '/nonexistent'");
$node->reload;
sleep 0.3;
kill 'KILL', sidecar_pid($node);
sleep 2;
ok(waits('unsent') && waits('unsent_end'), 'commits wait for a sidecar that is not there');
signal_session('pg_cancel_backend', 'unsent');
signal_session('pg_terminate_backend', 'unsent_end');
$took = finish($delayed_term, time);
cmp_ok($took, '<', 3, "pg_terminate_backend ended a commit that was not sent after $took s");
like($delayed_term->{err}, qr/57P01/, '... and nothing was committed');
unlike($delayed_term->{err}, qr/08007/, '... for certain');
ok(wait_until(sub { $delayed->{handle}->pump_nb; $delayed->{err} =~ /57014/ }, 5), 'pg_cancel_backend ended another');
finish($delayed, time);
unlike($delayed->{err}, qr/08007/, '... nothing was committed, for certain');
like($delayed->{out}, qr/alive/, '... and the session lives on');
finish($delayed_timeout, time);
like($delayed_timeout->{err}, qr/57014.*statement timeout/, 'statement_timeout ends a COMMIT within a statement');

# A fast stop without a sidecar.
my $last = start_session($node, 'stopped', "BEGIN; INSERT INTO t SELECT 5, 'last';\nCOMMIT;");
sleep 1;
$start = time;
$node->stop('fast');
$took = time - $start;
cmp_ok($took, '<', 10, "a fast stop without a sidecar took $took s");
eval { $last->{handle}->finish };
$node->append_conf('postgresql.conf', "concord.daemon_path = ''");
$node->start;
ok(wait_ready($node), 'it starts again');
is(rows('a BETWEEN 2 AND 5'), '0', 'nothing that was interrupted for certain is there');

# A fast stop with a stopped sidecar and a commit that was sent.
$sidecar = sidecar_pid($node);
$commit = start_session($node, 'stopped', "BEGIN; INSERT INTO t VALUES (6, 'stopped'); SELECT pg_sleep(1);\nCOMMIT;");
sleep 0.5;
kill 'STOP', $sidecar;
ok(waits('stopped'), 'a commit waits');
sleep 1;
$start = time;
$node->stop('fast');
$took = time - $start;
cmp_ok($took, '<', 10, "a fast stop with a stopped sidecar took $took s");
ok(!kill(0, $sidecar), '... and the sidecar is gone');
eval { $commit->{handle}->finish };
like($commit->{err}, qr/08007/, '... and the client knows that it does not know');
$node->start;
ok(wait_ready($node), 'it starts again');
$unknown = rows('a = 6');
ok($unknown eq '0' || $unknown eq '1', "the transaction of unknown outcome is there whole or not at all: $unknown");
is($node->safe_psql('postgres', 'SET enable_seqscan = off; SELECT count(*), min(a) FROM t WHERE a >= 0'),
	$node->safe_psql('postgres', 'SET enable_indexscan = off; SET enable_indexonlyscan = off; SET enable_bitmapscan = off;
	  SELECT count(*), min(a) FROM t WHERE a >= 0'), 'index and table agree');
unlike(slurp_file($node->logfile), qr/was terminated by signal (?!9)|PANIC/, 'no backend crashed');
$node->stop;
done_testing();
