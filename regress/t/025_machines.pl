# Three machines with everything in one process each: a leader appends to its own journal node without gRPC, a replica follows the one
# beside it. Whichever is killed or stopped, commits go on, and what was acknowledged is there.
use strict;
use warnings;
use ConcordCluster;
use ConcordTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $cluster = ConcordCluster->new(machines => 3, write_quorum => 2);
my @machines = $cluster->members_with('journal');
my $node = $cluster->start_server('main');
$node->safe_psql('postgres', 'CREATE TABLE t (worker int, n int, PRIMARY KEY (worker, n))');
my $workers = start_workers($node, 't', 3);
sub goes_on { $cluster->goes_on($node, 't', @_); }
sub well
{
	my ($out, $err);
	ok(wait_until(sub { (my $code, $out, $err) = $cluster->ctl('cluster', 'status'); $code == 0 }), "... $_[0]") or diag($out, $err);
}
goes_on('with all there');
like($cluster->log($cluster->leader), qr/leading: decides commits .* own_nodes=1/, '... and the leader has a journal node of its own');
well('and nothing is wrong');

# Also the one whose replica the server reads, and the leader.
foreach my $machine (@machines)
{
	my $leader = $cluster->leader;
	$cluster->kill($machine, 'KILL');
	goes_on("after kill -9 of $machine" . ($machine eq $leader ? ', the leader' : ''));
	# Its journal is behind what its replica may have had of the others.
	$cluster->start($machine);
	ok(wait_until(sub { $cluster->log($machine) =~ /ready address/ }), '... and it comes back') or diag($cluster->log($machine));
	well('as one of the cluster');
}

# A leader that sleeps, with its journal node and replica.
{
	my $old = $cluster->leader;
	$cluster->signal($old, 'STOP');
	goes_on("after SIGSTOP of the leader, $old");
	isnt($cluster->leader, $old, '... under another one');
	$cluster->signal($old, 'CONT');
	ok(wait_until(sub { $cluster->log($old) =~ /stepping down: decides no commits/ }), '... the old one finds itself fenced');
	goes_on('after it has gone on');
	well('and it has caught up');
}

# The lead goes round, and with it who is written to without gRPC.
foreach my $round (1 .. 3)
{
	my $old = $cluster->leader;
	my ($code, $out, $err) = $cluster->ctl('leader', 'transfer');
	is($code, 0, "transfer $round") or diag($out, $err);
	goes_on('after it');
	isnt($cluster->leader, $old, '... under another one');
}

# A journal node that is no member gets nothing more, and the replica beside it follows the others: it is ahead of it, and says nothing of that
# when they start again.
{
	my ($code, $out, $err) = $cluster->ctl('journal', 'remove', $cluster->node_id('m3'));
	is($code, 0, 'the journal node of m3 is removed') or diag($out, $err);
	goes_on('without it');
	well('with two of them');
	$cluster->kill('m3', 'KILL');
	$cluster->start('m3');
	ok(wait_until(sub { $cluster->log('m3') =~ /ready address/ }), 'm3 comes back') or diag($cluster->log('m3'));
	well('and its replica follows');
	($code, $out, $err) = $cluster->ctl('journal', 'add', $cluster->member('m3'));
	is($code, 0, 'its journal node is added again') or diag($out, $err);
	goes_on('with it');
	well('with all three');
}

# All at once, as when the power fails: the next leader has what was acknowledged from the disks.
$cluster->kill($_, 'KILL') foreach @machines;
$cluster->start($_) foreach @machines;
goes_on('after kill -9 of all');
well('and they agree');

$cluster->check_workers($node, 't', $workers);
# Of every replica.
my $count = $node->safe_psql('postgres', 'SELECT count(*), sum(n) FROM t');
foreach my $machine (@machines)
{
	my $address = $cluster->address($machine);
	$node->append_conf('postgresql.conf', "concord.storage_address = '$address'\nconcord.directory = '$cluster->{base}/$machine'");
	$node->restart;
	is($node->safe_psql('postgres', 'SELECT count(*), sum(n) FROM t'), $count, "$machine has them all");
}
$node->stop;
$cluster->stop;
done_testing();
