# Backends, workers and the whole server are killed with -9 under load; every acknowledged commit is there.
use strict;
use warnings;
use ConcordTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

my $node = new_cluster('main');
$node->safe_psql('postgres', 'CREATE TABLE t (w int, n int, PRIMARY KEY (w, n))');
my $workers = start_workers($node, 't', 4);

sub pid_of
{
	my ($type) = @_;
	my ($status, $out) = $node->psql('postgres', "SELECT pid FROM pg_stat_activity WHERE backend_type = '$type' AND pid <> pg_backend_pid()
	  ORDER BY random() LIMIT 1");
	return $status == 0 && $out =~ /^(\d+)/ ? $1 : undef;
}

foreach my $victim ('client backend', 'concord gateway', 'concord launcher', 'client backend')
{
	sleep 1 + rand 1;
	my $pid;
	ok(wait_until(sub { defined($pid = pid_of($victim)) }, 30), "found a $victim");
	kill 'KILL', $pid;
	ok(wait_ready($node), "it commits again after kill -9 of a $victim");
}
sleep 1;
my $postmaster = (split /\n/, slurp_file($node->data_dir . '/postmaster.pid'))[0];
$node->kill9;
ok(wait_until(sub { !kill(0, $postmaster) }, 20), 'the postmaster is gone');	# init may take its time to reap it
$node->start;
ok(wait_ready($node), 'it commits again after kill -9 of the postmaster');
sleep 1;
my $acked = stop_workers($workers);
my ($total, @lost) = (0);
foreach my $worker (sort keys %$acked)
{
	my %there = map { $_ => 1 } split /\n/, $node->safe_psql('postgres', "SELECT n FROM t WHERE w = $worker");
	foreach my $n (@{ $acked->{$worker} })
	{
		$total++;
		push @lost, "$worker/$n" unless $there{$n};
	}
}
cmp_ok($total, '>', 50, "$total commits were acknowledged");
is("@lost", '', 'every acknowledged commit is there');
$node->stop;
done_testing();
