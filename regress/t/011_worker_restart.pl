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
# A session that has its read LSN already waits for another machine's replica, as it were, alone.
{
	my $pid = $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE backend_type = 'concord gateway'");
	my $dir = PostgreSQL::Test::Utils::tempdir();
	my $until = sub { return "\\! while [ ! -e $dir/$_[0] ]; do sleep 0.05; done\n" };
	my $session = start_session($node, 'reads', "SET concord.local_reads = off;\nBEGIN ISOLATION LEVEL REPEATABLE READ;\nSELECT max(a) FROM t;\n"
		  . $until->('go') . 'SELECT count(*) FROM t; COMMIT;');
	ok(wait_until(sub { eval { $session->{handle}->pump_nb }; $session->{out} =~ /\d/ }), 'a session has read');
	set_faults($faulty, 'fork / WAIT');
	my $held = fault_hits($faulty, qr/^fork/);
	my $other = start_session($node, 'connects', 'SELECT 1;' . "\n" . $until->('end'));    # its end would wake the postmaster
	ok(wait_until(sub { fault_hits($faulty, qr/^fork/) > $held }), 'the postmaster forks');
	kill 'TERM', $pid;
	ok(wait_until(sub { !-e "/proc/$pid" || slurp_file("/proc/$pid/stat") =~ /^\d+ \(.*\) Z/ }), 'meanwhile the gateway ends');
	append_to_file("$dir/go", '');
	set_faults($faulty);
	$session->{handle}->finish;
	append_to_file("$dir/end", '');
	$other->{handle}->finish;
	is($session->{err}, '', '... and is started again for who reads through it');
	like($session->{out}, qr/^3\n3$/m, '... and reads');
}
is($node->safe_psql('postgres', 'SELECT count(*) FROM t'), 3, 'all was committed');
$node->stop;
done_testing();
