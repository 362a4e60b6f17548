# Epochs and journal nodes in an etcd: what concordd and concordctl take from there and write there, and what goes on without it.
use strict;
use warnings;
use ConcordTest;
use IPC::Run;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

chomp(my $daemon = `pg_config --pkglibdir`);
$daemon .= '/concordd';
chomp(my $ctl = `pg_config --bindir`);
$ctl .= '/concordctl';
my $base = PostgreSQL::Test::Utils::tempdir_short();
my ($port, $peer_port) = map { PostgreSQL::Test::Cluster::get_free_port() } 1 .. 2;
my $metastore = "--metastore=etcd:127.0.0.1:$port";
my %handles;

sub start_etcd
{
	my $client = "http://127.0.0.1:$port";
	my $peer = "http://127.0.0.1:$peer_port";
	$handles{etcd} = IPC::Run::start([ 'etcd', '--data-dir', "$base/etcd", '--listen-client-urls', $client, '--advertise-client-urls', $client,
			'--listen-peer-urls', $peer, '--initial-advertise-peer-urls', $peer, '--initial-cluster', "default=$peer" ],
		'<', \undef, '>>', "$base/etcd.log", '2>&1');
}

sub start_role
{
	my ($role, $dir, @options) = @_;
	$handles{$dir} = IPC::Run::start([ $daemon, '--roles', $role, '--dir', "$base/$dir", '--lock-wait-ms', '10000', @options ],
		'<', \undef, '>>', "$base/$dir.log", '2>&1');
}

sub logged
{
	my ($dir, $text, $name) = @_;
	ok(wait_until(sub { -e "$base/$dir.log" && slurp_file("$base/$dir.log") =~ $text }, 30), $name);
}

# Ends a process; returns its exit code.
sub stop
{
	my ($dir, $signal) = @_;
	$handles{$dir}->signal($signal);
	eval { $handles{$dir}->finish; 1 } or note($@);
	rename("$base/$dir.log", "$base/$dir.old.log");
	return $handles{$dir}->result(0);
}

sub run_command
{
	my ($out, $err) = ('', '');
	IPC::Run::run([@_], '<', \undef, '>', \$out, '2>', \$err, IPC::Run::timeout(60));
	return ($? >> 8, $out, $err);
}

sub name_of { return (slurp_file("$base/$_[0]") =~ /^(?:cluster|id) (\w+)$/m)[0]; }

# Wrong usage.
foreach my $case (
	[ 'neither file nor etcd', qr/"etcd:host" is not etcd:host:port/, '--metastore=etcd:host' ],
	[ 'the ensemble twice', qr/neither --journal-address nor --write-quorum may be given/, $metastore, '--journal-address=unix:/x' ],
	[ 'a user without etcd', qr/are for an etcd, and --metastore names none/, '--metastore-user=me' ])
{
	my ($name, $message, @options) = @$case;
	my ($code, undef, $err) = run_command($daemon, '--roles=adjudicator,journal', '--dir', "$base/none", @options);
	is($code, 2, $name);
	like($err, $message, '... is told so');
}

# Three journals, which need no etcd, and the cluster's first members.
start_role('journal', 'j1');
logged('j1', qr/ready address/, 'the first journal is ready');
my $cluster = name_of('j1/identity');
start_role('journal', $_, '--join-cluster', $cluster) foreach 'j2', 'j3';
logged($_, qr/ready address/, "journal $_ is ready") foreach 'j2', 'j3';
my $journal = join(',', map { name_of("$_/node_id") . "=unix:$base/$_/concordd.sock" } 'j1', 'j2', 'j3');

my ($code, $out, $err) = run_command($ctl, 'cluster', 'members', $metastore, '--cluster', $cluster);
is($code, 4, 'no etcd');
like($err, qr/etcd does not answer: 127\.0\.0\.1:$port: /, '... and its endpoint is named');
start_role('storage', 's', $metastore, '--join-cluster', $cluster);
logged('s', qr/waiting for the members of the cluster reason="etcd does not answer/, 'storage waits for etcd');
start_etcd();
logged('s', qr/waiting for the members of the cluster reason="etcd has no members of cluster $cluster"/, '... and then for the members');
is(stop('s', 'TERM'), 0, '... and ends when it is asked to');
($code) = run_command($ctl, 'cluster', 'members', $metastore, '--cluster', $cluster);
is($code, 1, 'no members');
($code, $out, $err) = run_command($ctl, 'cluster', 'init', $metastore, '--cluster', $cluster, '--journal', $journal, '--write-quorum', 1);
is($code, 2, 'a quorum that is none');
($code, $out, $err) = run_command($ctl, 'cluster', 'init', $metastore, '--cluster', $cluster, '--journal', $journal);
is($code, 0, 'members') or diag($err);
($code, $out, $err) = run_command($ctl, 'cluster', 'init', $metastore, '--cluster', $cluster, '--journal', $journal);
is($code, 1, 'they are not written over');
like($err, qr/cluster $cluster has members already, of version 1/, '... and that is said');

sub members
{
	my ($status, $json) = run_command($ctl, 'cluster', 'members', $metastore, '--cluster', $cluster, '--json');
	return $status == 0 ? decode_json($json) : undef;
}
my $members = members();
is($members->{cluster}, $cluster, 'the cluster');
is(join(',', map { "$_->{id}=$_->{address}" } @{ $members->{members}{journal} }), $journal, '... its journal');
is($members->{members}{write_quorum}, 2, '... more than half of it');
is($members->{leader}, undef, '... and no leader yet');

# A new directory does not know which cluster to join.
($code, undef, $err) = run_command($daemon, '--roles=storage', '--dir', "$base/new", $metastore);
is($code, 4, 'a new directory');
like($err, qr/name the cluster that it joins with --join-cluster/, '... has to be told its cluster');
($code, undef, $err) = run_command($daemon, '--roles=storage', '--dir', "$base/new", $metastore, '--join-cluster', $cluster, '--advertise', '0.0.0.0:1');
is($code, 2, 'an address of no machine');
like($err, qr/--advertise 0\.0\.0\.0:1 is no address that others could connect to/, '... is not for others');

start_role('storage', 's', $metastore, '--join-cluster', $cluster);
start_role('adjudicator', 'a', $metastore, '--join-cluster', $cluster, '--advertise', 'somewhere:1');
logged('a', qr/leading: decides commits epoch=1 .* nodes=3/, 'the adjudicator leads');
is_deeply(members()->{leader}, { epoch => '1', id => name_of('a/node_id'), address => 'somewhere:1' }, '... as etcd knows');
my $node = new_cluster('main', "concord.embedded = off\nconcord.directory = '$base/s'\n"
	  . "concord.address = 'unix:$base/a/concordd.sock'\nconcord.storage_address = 'unix:$base/s/concordd.sock'\n");
$node->safe_psql('postgres', 'CREATE TABLE t (n int PRIMARY KEY)');
$node->safe_psql('postgres', 'INSERT INTO t VALUES (1)');

stop('a', 'KILL');
start_role('adjudicator', 'a', $metastore);
logged('a', qr/leading: decides commits epoch=2 /, 'its successor has the next epoch');
is(members()->{leader}{address}, "unix:$base/a/concordd.sock", '... and says where it listens');
ok(wait_ready($node), 'commits go on');

# Without etcd commits go on, but nobody can take over.
stop('etcd', 'KILL');
$node->safe_psql('postgres', 'INSERT INTO t VALUES (2)');
stop('j2', 'KILL');
$node->safe_psql('postgres', 'INSERT INTO t VALUES (3)');
stop('a', 'KILL');
start_role('adjudicator', 'a', $metastore);
logged('a', qr/waiting for the members of the cluster reason="etcd does not answer/, 'an adjudicator waits for etcd');

# Somebody else at a member's address is not taken for it.
start_role('journal', 'other', '--join-cluster', $cluster, '--listen', "unix:$base/j2/concordd.sock");
logged('other', qr/ready address/, 'another node where a member was');
start_etcd();
logged('a', qr/leading: decides commits epoch=3 .* nodes=2/, 'with etcd an adjudicator leads again, over the two that are left');
unlike(slurp_file("$base/other.log"), qr/role=journal sealed: /, '... and the stranger is not touched');
ok(wait_ready($node), 'commits go on');
is($node->safe_psql('postgres', 'SELECT array_agg(n ORDER BY n) FROM t'), '{1,2,3}', 'all is there');
$node->stop;
is(stop($_, 'TERM'), 0, "$_ stops cleanly") foreach 'a', 's', 'j1', 'j3', 'other';
stop('etcd', 'KILL');
done_testing();
