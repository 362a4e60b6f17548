# Six journal nodes in three zones, four of them for a commit: a whole zone may go, and commits go on; with one more gone they stop,
# and nothing is lost.
use strict;
use warnings;
use ConcordCluster;
use ConcordTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $cluster = ConcordCluster->new(journals => 6, write_quorum => 4, adjudicators => 2);
my @zones = ([ 'j1', 'j2' ], [ 'j3', 'j4' ], [ 'j5', 'j6' ]);
my $node = $cluster->start_server('main');
$node->safe_psql('postgres', 'CREATE TABLE t (worker int, n int, PRIMARY KEY (worker, n))');
sub goes_on { $cluster->goes_on($node, 't', @_); }
my $workers = start_workers($node, 't', 2);
goes_on('with all there');

foreach my $zone (@zones)
{
	$cluster->kill($_, 'KILL') foreach @$zone;
	goes_on("without the zone of @$zone");
	$cluster->start($_) foreach @$zone;
	ok(wait_until(sub { my ($code) = $cluster->ctl('cluster', 'status'); $code == 0 }), '... it comes back, and nothing is wrong');
}

# The leader goes together with its zone.
{
	my $old = $cluster->leader;
	$cluster->kill($_, 'KILL') foreach $old, @{ $zones[0] };
	goes_on("after kill -9 of the leader, $old, and of a zone");
	$cluster->start($_) foreach $old, @{ $zones[0] };
	ok(wait_until(sub { my ($code) = $cluster->ctl('cluster', 'status'); $code == 0 }), '... they come back');
}

# A zone and one more.
{
	$cluster->kill($_, 'KILL') foreach @{ $zones[1] }, 'j5';
	my ($status, undef, $err) = $node->psql('postgres', "SET concord.commit_timeout = '2s'; SET concord.read_timeout = '2s'; INSERT INTO t VALUES (0, 0)");
	isnt($status, 0, 'three of six are not enough');
	like($err, qr/ERROR/, '... which is an error');
	note($err);
	my (undef, $out) = $cluster->ctl('cluster', 'status');
	like($out, qr/only 3 of 6 journal nodes get records, and 4 are needed: nothing can be committed|is not led|does not lead/, '... and concordctl says why')
	  or diag($out);
	$cluster->start('j5');
	goes_on('by themselves with the fourth');
	$cluster->start($_) foreach @{ $zones[1] };
}

$cluster->check_workers($node, 't', $workers);
$node->stop;
$cluster->stop;
done_testing();
