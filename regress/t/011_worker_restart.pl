# A worker that ends while the postmaster forks for a connection: before PostgreSQL 16 the postmaster then goes to sleep for up to a minute
# with the restart forgotten. Whoever waits for the worker wakes it.
use strict;
use warnings;
use ConcordTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $faulty = faulty_sidecar();
my $node;
{
	local %ENV = (%ENV, %{ $faulty->{env} });
	# Nothing else wakes it.
	$node = new_cluster('main', "autovacuum = off\nconcord.sweep_interval = 0\n");
}
$node->safe_psql('postgres', 'CREATE TABLE t (a int PRIMARY KEY); INSERT INTO t VALUES (1)');

foreach my $worker ('launcher', 'gateway')
{
	my $pid = $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE backend_type = 'concord $worker'");
	set_faults($faulty, 'fork / WAIT');
	my $held = fault_hits($faulty, qr/^fork/);
	my $session = start_session($node, 'waits', "INSERT INTO t SELECT max(a) + 1 FROM t;");
	ok(wait_until(sub { fault_hits($faulty, qr/^fork/) > $held }), 'the postmaster forks');
	kill 'TERM', $pid;
	ok(wait_until(sub { !-e "/proc/$pid" || slurp_file("/proc/$pid/stat") =~ /^\d+ \(.*\) Z/ }), "meanwhile the $worker ends");
	set_faults($faulty);
	$session->{handle}->finish;
	is($session->{err}, '', '... and is started again for who waits for it');
	ok(wait_ready($node), '... and it goes on');
}
is($node->safe_psql('postgres', 'SELECT count(*) FROM t'), 3, 'all was committed');
$node->stop;
done_testing();
