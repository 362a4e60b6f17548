# The journal's members are changed by concordctl while commits go on: a dead node is replaced, the ensemble grows and shrinks, and
# whoever leads next knows it. Nothing that was acknowledged is lost.
use strict;
use warnings;
use ConcordCluster;
use ConcordTest;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

# Small segments, and nothing kept for long: a new node begins where the others have trimmed.
my $cluster = ConcordCluster->new(journals => 3, write_quorum => 2, adjudicators => 2,
	journal_options => [ '--segment-size=65536', '--journal-retention-ms=0' ]);
my $node = $cluster->start_server('main');
$node->safe_psql('postgres', 'CREATE TABLE t (worker int, n int, PRIMARY KEY (worker, n))');
sub goes_on { $cluster->goes_on($node, 't', @_); }
my $workers = start_workers($node, 't', 2);
goes_on('with three nodes');

sub members { my (undef, $out) = $cluster->ctl('cluster', 'members', '--json'); return decode_json($out)->{members}; }

# Refusals change nothing.
{
	my ($code, undef, $err) = $cluster->ctl('journal', 'remove', 'f' x 32);
	is($code, 1, 'a stranger is not removed');
	like($err, qr/is not a member of the journal/, '... as it is none');
	($code, undef, $err) = $cluster->ctl('journal', 'add', 'a' x 32 . '=unix:/nowhere', '--timeout', 5);
	is($code, 1, 'nor one that does not answer');
	like($err, qr/the journal node at unix:\/nowhere does not answer/, '... which is said');
	is(members()->{version}, '1', 'the members are those of before');
}

# A node that is dead for good.
sub kept_from
{
	my ($member) = @_;
	IPC::Run::run([ "$cluster->{ctl}/concordctl", 'status', '--json', "$cluster->{base}/$member" ], '>', \my $out);
	return decode_json($out)->{journal}{base_lsn};
}
$node->safe_psql('postgres', "CREATE TABLE big (n int, filler text); INSERT INTO big SELECT n, repeat('x', 100) FROM generate_series(1, 20000) n");
ok(wait_until(sub { !grep { kept_from($_) eq '0/0' } 'j2', 'j3' }), 'the journal has been trimmed');
$cluster->kill('j1', 'KILL');
goes_on('without j1');
$cluster->start_journals('j4');
{
	my $leader = $cluster->leader;
	my ($code, $out, $err) = $cluster->ctl('journal', 'replace', $cluster->node_id('j1'), 'a' x 32 . '=' . $cluster->address('j4'));
	isnt($code, 0, 'nobody is let in under another name');
	like($err, qr/is node \w+, and the members of the cluster have node a{32} there/, '... it is said who is there');
	($code, $out, $err) = $cluster->ctl('journal', 'replace', $cluster->node_id('j1'), $cluster->member('j4'), '--json');
	is($code, 0, 'j4 replaces it') or diag($out, $err, $cluster->log($leader));
	is(decode_json($out)->{members}{version}, 2, '... in a new membership');
	goes_on('after that');
	is($cluster->leader, $leader, '... under the same leader');
	like($cluster->log('j4'), qr/begins anew: what it lacked has been trimmed elsewhere/, 'j4 has what the others have kept');
	ok(wait_until(sub { ($code, $out, $err) = $cluster->ctl('cluster', 'status'); $code == 0 }), 'nothing is wrong then') or diag($out, $err);
}

# The new one counts: with j2 away too there are j3 and j4.
$cluster->kill('j2', 'KILL');
goes_on('without j2');
{
	my $old = $cluster->leader;
	$cluster->kill($old, 'KILL');
	goes_on("after kill -9 of the leader, $old, under one that has read the new members");
	isnt($cluster->leader, $old, '... another one');
	$cluster->start($old);
}
$cluster->start('j2');
ok(wait_until(sub { my ($code) = $cluster->ctl('cluster', 'status'); $code == 0 }), 'j2 comes back, and nothing is wrong');

# More nodes, and then others.
$cluster->start_journals('j5', 'j6');
{
	my ($code, $out, $err) = $cluster->ctl('journal', 'add', $cluster->member('j5'), $cluster->member('j6'));
	is($code, 0, 'two more') or diag($out, $err);
	is(members()->{write_quorum}, 3, '... of which three are needed');
	goes_on('with five nodes');
	$cluster->kill($_, 'KILL') foreach 'j3', 'j4';
	goes_on('without two of the five');
	($code, $out, $err) = $cluster->ctl('journal', 'remove', map { $cluster->node_id($_) } 'j3', 'j4');
	is($code, 0, 'the two are removed') or diag($out, $err);
	is(scalar @{ members()->{journal} }, 3, '... three are left');
	goes_on('with the three');
	my $old = $cluster->leader;
	($code, $out, $err) = $cluster->ctl('leader', 'transfer');
	is($code, 0, 'the lead is transferred') or diag($out, $err);
	goes_on('under a leader who has never seen the first three as they were');
	# The new leader may still be bringing a node on.
	ok(wait_until(sub { ($code, $out, $err) = $cluster->ctl('cluster', 'status'); $code == 0 }), 'nothing is wrong at the end') or diag($out, $err);
}

$cluster->check_workers($node, 't', $workers);
$node->stop;
$cluster->stop;
done_testing();
