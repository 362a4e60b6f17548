# A cluster of processes: etcd, three journal nodes, two adjudicators, a storage replica and a server. Whichever of them is killed
# or stopped, commits go on where they can, and what was acknowledged is there.
use strict;
use warnings;
use ConcordCluster;
use ConcordTest;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

my $cluster = ConcordCluster->new(journals => 3, write_quorum => 2, adjudicators => 2);
my $node = $cluster->start_server('main');
$node->safe_psql('postgres', 'CREATE TABLE t (worker int, n int, PRIMARY KEY (worker, n))');

sub goes_on { $cluster->goes_on($node, 't', @_); }

my $workers = start_workers($node, 't', 2);
goes_on('with all there');
my ($code, $out, $err);
ok(wait_until(sub { ($code, $out, $err) = $cluster->ctl('cluster', 'status'); $code == 0 }), 'concordctl finds nothing wrong') or diag($out, $err);
like($out, qr/^cluster \w{32}: all is well$/m, '... and says so');

foreach my $round (1 .. 2)
{
	my $old = $cluster->leader;
	$cluster->kill($old, 'KILL');
	goes_on("after kill -9 of the leader, $old");
	my $new = $cluster->leader;
	isnt($new, $old, '... under another one');
	$cluster->start($old);
	ok(wait_until(sub { $cluster->log($old) =~ /ready address/ }), '... beside which the old one stands by');
}

# As planned: nobody waits for a lease.
{
	my $old = $cluster->leader;
	($code, $out, $err) = $cluster->ctl('leader', 'transfer', '--json');
	is($code, 0, 'the lead is transferred') or diag($out, $err);
	my $transfer = decode_json($out)->{transfer};
	note("transfer: $transfer->{took_ms} ms");
	isnt($transfer->{from}, $transfer->{to}, '... to another one');
	goes_on('after the transfer');
	is($cluster->address($cluster->leader), $transfer->{to}, '... which leads');
	unlike($cluster->log($old), qr/in doubt|IN_DOUBT/, '... and nothing was in doubt');
}

foreach my $journal ('j1', 'j2', 'j3')
{
	my $old = $cluster->leader;
	$cluster->kill($journal, 'KILL');
	goes_on("after kill -9 of a journal node, $journal");
	is($cluster->leader, $old, '... under the same leader');
	($code, $out) = $cluster->ctl('cluster', 'status', '--json');
	is($code, 1, '... concordctl sees it');
	like(join("\n", @{ decode_json($out)->{problems} }), qr/the journal node at \S*$journal\S* does not answer/, '... and says which');
	my $joined = () = $cluster->log($old) =~ /has caught up and is written to/g;
	$cluster->start($journal);
	ok(wait_until(sub { (() = $cluster->log($old) =~ /has caught up and is written to/g) > $joined }), '... and it catches up');
}

# A stopped process is not dead: what it holds open stays open, and it goes on as if nothing had happened.
{
	my $old = $cluster->leader;
	$cluster->signal($old, 'STOP');
	goes_on("after SIGSTOP of the leader, $old");
	my $new = $cluster->leader;
	isnt($new, $old, '... under another one');
	$cluster->signal($old, 'CONT');
	ok(wait_until(sub { $cluster->log($old) =~ /stepping down: decides no commits/ }), '... the old one finds itself fenced');
	goes_on('after it has gone on');
	is($cluster->leader, $new, '... and leaves the new one alone');
}

# Nobody waits for a journal node that hangs, not even who takes over.
{
	my $old = $cluster->leader;
	$cluster->signal('j2', 'STOP');
	$cluster->kill($old, 'KILL');
	goes_on("after kill -9 of the leader, $old, while j2 hangs");
	$cluster->signal('j2', 'CONT');
	my $new = $cluster->leader;
	ok(wait_until(sub { $cluster->log($new) =~ /has caught up and is written to/ }), '... which then catches up');
	$cluster->start($old);
	ok(wait_until(sub { $cluster->log($old) =~ /ready address/ }), '... and the old one stands by');
}

# Without a majority nothing is committed, and it is said why; reads by the replica's LSN cannot be strong then.
{
	$cluster->kill($_, 'KILL') foreach 'j1', 'j2';
	my ($status, $out, $err) = $node->psql('postgres', "SET concord.commit_timeout = '2s'; SET concord.read_timeout = '2s'; INSERT INTO t VALUES (0, 0)");
	isnt($status, 0, 'without a majority of the journal no commit');
	like($err, qr/ERROR/, '... but an error');
	note($err);
	$cluster->start($_) foreach 'j1', 'j2';
	goes_on('by themselves when the journal is back');
}

# The metastore is needed for a change of leader only.
{
	$cluster->kill('etcd', 'KILL');
	goes_on('without etcd');
	$cluster->start('etcd');
	my $old = $cluster->leader;
	$cluster->kill($old, 'KILL');
	goes_on("after kill -9 of $old when etcd is back");
	$cluster->start($old);
}

$cluster->check_workers($node, 't', $workers);
$node->stop;
$cluster->stop;
done_testing();
