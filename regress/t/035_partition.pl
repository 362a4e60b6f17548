# Members that are cut off, not dead: nobody tells them, nothing is refused, bytes just do not come. Commits go on wherever a majority of the
# journal, an adjudicator and the server reach each other; what was acknowledged is there; and who is alone commits nothing and vouches for nothing.
# And a journal node behind a thin wire: it does not set the pace, and takes no memory.
use strict;
use warnings;
use ConcordCluster;
use ConcordTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $cluster = ConcordCluster->new(journals => 3, write_quorum => 2, adjudicators => 2, net => 1);
my $net = $cluster->{net};
my $node = $cluster->start_server('main');
$node->safe_psql('postgres', 'CREATE TABLE t (worker int, n int, PRIMARY KEY (worker, n)); CREATE TABLE wide (n int PRIMARY KEY, b text)');
sub goes_on { $cluster->goes_on($node, 't', @_); }
sub is_well { my ($what) = @_; ok(wait_until(sub { ($cluster->ctl('cluster', 'status'))[0] == 0 }, 120), $what) or diag(($cluster->ctl('cluster', 'status'))[1]); }
sub other { return $_[0] eq 'a1' ? 'a2' : 'a1'; }

my $workers = start_workers($node, 't', 2);
goes_on('with all there');
is_well('all is well');

# A journal node, from everybody.
{
	my $leader = $cluster->leader;
	$net->cut('j1');
	goes_on('while a journal node is cut off');
	is($cluster->leader, $leader, '... under the same leader');
	ok(wait_until(sub { ($cluster->ctl('cluster', 'status'))[1] =~ /the journal node at \S*j1\S* does not answer/ }), '... concordctl says which');
	$net->heal('j1');
	is_well('... it catches up');
}

# The leader, from the majority of the journal. It reaches etcd, so it keeps its lease for as long as it wants to.
{
	my $old = $cluster->leader;
	$net->cut($_, $cluster->pid($old)) foreach 'j1', 'j2';
	goes_on('while the leader reaches a minority of the journal');
	is($cluster->leader, other($old), '... under the other one');
	$net->heal('j1', 'j2');
	goes_on('when it is healed');
	is_well('... and all is well');
}

# The leader, from etcd alone: the journal's majority makes it the leader, and etcd is needed for a change only.
{
	my $leader = $cluster->leader;
	$net->cut("etcd-$leader");
	goes_on('while the leader does not reach etcd');
	is($cluster->leader, $leader, '... under it');
	$net->heal("etcd-$leader");
	is_well('... and all is well afterwards');
}

# The leader with the server, from all else: the server goes on asking it, and it must neither commit nor vouch.
{
	my $old = $cluster->leader;
	my $new = other($old);
	$net->cut($_, $cluster->pid($old)) foreach 'j1', 'j2', 'j3';
	$net->cut("etcd-$old");
	ok(wait_until(sub { $cluster->leader eq $new }), 'the other one leads when the leader is alone');
	goes_on('... and the server finds it');
	$net->heal('j1', 'j2', 'j3', "etcd-$old");
	ok(wait_until(sub { $cluster->log($old) =~ /stepping down: decides no commits/ }), '... the old one finds itself fenced');
	is_well('... and all is well afterwards');
}

# The server from every adjudicator: an error in time, and it goes on by itself.
{
	$net->cut('a1');
	$net->cut('a2');
	my $begin = time;
	my ($status, undef, $err) = $node->psql('postgres', "SET concord.commit_timeout = '2s'; SET concord.read_timeout = '2s'; INSERT INTO t VALUES (0, 0)");
	isnt($status, 0, 'without an adjudicator no commit');
	like($err, qr/ERROR/, '... but an error');
	cmp_ok(time - $begin, '<', 30, '... in time');
	note($err);
	$net->heal('a1', 'a2');
	goes_on('by themselves when it is healed');
}

# A thin wire to a journal node: 64 MB are committed while less than 1 MB goes through it. A machine that is too busy to renew a lease of half a
# second changes the leader too, so there are three tries.
{
	my $text = "(SELECT string_agg(md5((1000 * i + j)::text), '') FROM generate_series(1, 1000) j)";
	my ($leader, $before, $tries) = ('', 0, 0);
	while ($tries < 3 && $cluster->leader ne $leader)
	{
		$net->heal('j3');
		is_well('all is well before');
		$leader = $cluster->leader;
		$before = $cluster->memory_kb($leader);
		$net->limit('j3', 20_000);
		foreach my $part (0 .. 15)
		{
			$node->safe_psql('postgres', "INSERT INTO wide SELECT i, $text FROM generate_series(2048 * $tries + $part * 128 + 1, 2048 * $tries + $part * 128 + 128) i");
		}
		pass('64 MB are committed beside a slow node');
		goes_on('while a journal node is slow');
		$tries++;
	}
	is($cluster->leader, $leader, '... under the same leader');
	my $grown = $cluster->memory_kb($leader) - $before;
	note("memory of the leader grew by $grown kB");
	cmp_ok($grown, '<', 150_000, '... which does not keep all that for it');
	$net->heal('j3');
	is_well('it catches up from what the others have on disk');
	is($node->safe_psql('postgres', 'SELECT count(*), sum(length(b)) FROM wide'), 2048 * $tries . '|' . 2048 * $tries * 32000, 'the rows are there');
}

# What it has is what the others have: any two of three are enough.
{
	$cluster->kill('j1', 'KILL');
	goes_on('with the node that was slow, and without another');
	$cluster->start('j1');
	is_well('... which comes back');
}

$cluster->check_workers($node, 't', $workers);
$node->stop;
$cluster->stop;
done_testing();
