# The operating system crashes under a whole server with load: the server and its sidecar are killed, and what the sidecar has
# not synced is lost, kept or torn at random. (Postgres' own files stay as they are; their durability is its WAL's.)
use strict;
use warnings;
use ConcordTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

my $bin = $ENV{CONCORD_TEST_BIN};
my $work = PostgreSQL::Test::Utils::tempdir('crash');
my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'concord'\ndefault_table_access_method = 'concord'\n"
	  . "concord.checkpoint_interval = '50ms'\n");
my $directory = $node->data_dir . '/concord';
my $boot = 0;

# Begins a recording of what concordd does to its directory, on a machine that has just booted.
sub boot
{
	$boot++;
	mkdir "$work/before.$boot";
	system_or_bail('cp', '-a', "$directory/.", "$work/before.$boot") if -d $directory;
	append_to_file("$work/boot_id.$boot", "boot $boot\n");
	local %ENV = (%ENV,
		LD_PRELOAD => "$bin/crash_recorder.so",
		CONCORD_RECORD_DIR => $directory,
		CONCORD_RECORD_LOG => "$work/recording.$boot",
		CONCORD_RECORD_BOOT_ID => "$work/boot_id.$boot",
		CONCORD_RECORD_SYNC_US => 2000);
	$node->start;
}

boot();
$node->safe_psql('postgres', 'CREATE EXTENSION concord');
$node->safe_psql('postgres', 'CREATE TABLE t (w int, n int, PRIMARY KEY (w, n))');
my %acked;
foreach my $crash (1 .. $ENV{CONCORD_SERVER_CRASHES} // 2)
{
	my $workers = start_workers($node, 't', 4);
	sleep 1 + rand 1;
	my $sidecar = sidecar_pid($node);
	my $postmaster = (split /\n/, slurp_file($node->data_dir . '/postmaster.pid'))[0];
	kill 'KILL', $sidecar;
	$node->kill9;
	my $now = stop_workers($workers);
	ok(wait_until(sub { !kill(0, $postmaster) && !kill(0, $sidecar) && !defined sidecar_pid($node) }, 60), 'all is gone');
	push @{ $acked{$_} }, @{ $now->{$_} } foreach keys %$now;

	system_or_bail('rm', '-rf', $directory);
	command_ok([ "$bin/os_crash", 'image', "$work/recording.$boot", "$work/before.$boot", $directory ], "crash $crash");
	boot();
	ok(wait_ready($node), 'it commits again');
	my ($total, @lost) = (0);
	foreach my $worker (sort keys %acked)
	{
		my %there = map { $_ => 1 } split /\n/, $node->safe_psql('postgres', "SELECT n FROM t WHERE w = $worker");
		foreach my $n (@{ $acked{$worker} })
		{
			$total++;
			push @lost, "$worker/$n" unless $there{$n};
		}
	}
	cmp_ok($total, '>', 0, "$total commits were acknowledged");
	is("@lost", '', 'every acknowledged commit is there');
	is($node->safe_psql('postgres', 'SET enable_seqscan = off; SELECT count(*) FROM t WHERE w > 0'),
		$node->safe_psql('postgres', 'SET enable_indexscan = off; SET enable_bitmapscan = off; SELECT count(*) FROM t'),
		'the index agrees with the table');
	# The workers of the next round count from 1 again.
	$node->safe_psql('postgres', 'UPDATE t SET w = w + 100');
	%acked = map { ($_ + 100) => $acked{$_} } keys %acked;
}
$node->stop;
done_testing();
