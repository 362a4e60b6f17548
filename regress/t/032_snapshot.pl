# A storage replica that the journal cannot bring on, because it is new or was away for too long, copies another one that serves on under
# load; whoever of the two is killed meanwhile, the end is a whole replica. And which replicas there are is what concordctl says.
use strict;
use warnings;
use ConcordCluster;
use ConcordTest;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

# Small segments, and nothing is kept for long: a new replica finds the beginning gone.
my $cluster = ConcordCluster->new(journals => 3, write_quorum => 2, adjudicators => 2,
	journal_options => [ '--segment-size=65536', '--journal-retention-ms=0' ], storage_options => [ '--lease-ms=5000' ]);
my $node = $cluster->start_server('main');
$node->safe_psql('postgres', 'CREATE TABLE t (worker int, n int, PRIMARY KEY (worker, n)); CREATE TABLE filler (a int, b text)');
my $workers = start_workers($node, 't', 2);
sub goes_on { $cluster->goes_on($node, 't', @_); }
goes_on('with one replica');

sub status { my (undef, $out) = $cluster->ctl('cluster', 'status', '--json'); return decode_json($out); }
# Of a replica, what cluster status says.
sub replica { my ($name) = @_; my $id = $cluster->node_id($name); return (grep { $_->{id} eq $id } @{ status()->{storage} // [] })[0] // {}; }
sub follows { my ($name) = @_; return (replica($name)->{state} // '') eq 'follows'; }
# Whether it has become a copy, since it was started, and goes on.
sub copied { my ($name) = @_; return wait_until(sub { $cluster->log($name) =~ /goes on as a copy of another one/ && follows($name) }, 120); }
# Many megabytes, so that a copy takes a while.
sub fill { $node->safe_psql('postgres', "INSERT INTO filler SELECT i, repeat(md5(i::text), 60) FROM generate_series(1, $_[0]) i"); }
# An LSN that concordctl status tells of a member, as a number.
sub lsn_of
{
	my ($member, $field) = @_;
	my ($out) = run_command([ "$cluster->{ctl}/concordctl", 'status', "$cluster->{base}/$member", '--json' ]);
	return $out =~ m{"$field":"([0-9A-F]+)/([0-9A-F]+)"} ? hex($1) * 2**32 + hex($2) : 0;
}
# Whether every journal node has trimmed what follows it.
sub trimmed { my ($lsn) = @_; return 3 == grep { lsn_of("j$_", 'base_lsn') > $lsn } 1 .. 3; }

# Registered, or not.
{
	my ($code, $out, $err) = $cluster->ctl('storage', 'add', 'a' x 32 . '=' . $cluster->address('s1'));
	is($code, 1, 'nobody is registered under another name');
	like($err, qr/is node \w+, not a{32}/, '... it is said who is there');
	($code, $out, $err) = $cluster->ctl('storage', 'add', $cluster->member('a1'));
	like($err, qr/has no role storage/, 'nor is what is no replica');
	ok(wait_until(sub { join("\n", @{ status()->{notes} }) =~ /is not registered, so nobody copies it/ }), 'of a replica that is not registered status says so');
	($code, $out, $err) = $cluster->ctl('storage', 'add', $cluster->member('s1'), '--json');
	is($code, 0, 's1 is registered') or diag($err);
	is(scalar @{ decode_json($out)->{storage} }, 1, '... and told');
	ok(wait_until(sub { ($code, $out, $err) = $cluster->ctl('cluster', 'status'); $code == 0 }), 'nothing is wrong') or diag($out, $err);
	my $status = status();
	is(scalar @{ $status->{standbys} }, 1, 'one adjudicator stands by');
	ok($status->{standbys}[0]{answers}, '... and answers');
	is($status->{storage}[0]{registered}, JSON::PP::true, 'the replica is in the status');
	cmp_ok($status->{storage}[0]{lease_left_ms}, '>', 0, '... with its lease');
}

fill(20000);
ok(wait_until(sub { trimmed(0) }), 'the journal has been trimmed');

# A new replica.
$cluster->start_storage('s2');
ok(copied('s2'), 's2 has copied s1 and follows') or diag($cluster->log('s2'));
like($cluster->log('s2'), qr/and the journal has trimmed what follows; it copies another replica/, '... because the journal has been trimmed');
goes_on('while it was copied');
my ($code, $out, $err) = $cluster->ctl('storage', 'add', $cluster->member('s2'));
is($code, 0, 's2 is registered') or diag($err);

# kill -9 of the receiver in the middle: the next start begins again.
my $pause = "$cluster->{base}/storage_copying";
sub start_and_pause
{
	my ($name) = @_;
	unlink "$pause.reached";
	append_to_file($pause, '');
	local $ENV{CONCORD_PAUSE_DIR} = $cluster->{base};
	$cluster->start_storage($name);
	ok(wait_until(sub { -e "$pause.reached" }), "$name copies");
	ok(-s "$cluster->{base}/$name/storage.new/data.mdb", '... and has a part');
}
start_and_pause('s3');
is(replica('s3')->{state}, 'copies', 'cluster status says so');
like(join("\n", @{ status()->{problems} }), qr/it copies the one at \S+ and is at \d+ of \d+ MiB/, '... and how far it is');
$cluster->kill('s3', 'KILL');
unlink $pause;
$cluster->start_all('s3');
ok(copied('s3'), 'killed in the middle, s3 copies again') or diag($cluster->log('s3'));
ok(!-e "$cluster->{base}/s3/storage.new", '... and leaves nothing behind');

# kill -9 of the one that is copied: there is another one.
start_and_pause('s4');
$cluster->kill('s1', 'KILL');
unlink $pause;
ok(copied('s4'), 's4 is complete though s1 was killed') or diag($cluster->log('s4'));
like($cluster->log('s4'), qr/has copied the one at \S+\/s2\//, '... as a copy of s2');
$cluster->start_all('s1');
ok(wait_until(sub { follows('s1') }), 's1 is back');
goes_on('after that');

# Away for longer than its lease: what it needs is trimmed, by every node, and it comes back as a copy.
$cluster->kill('s2', 'TERM');
my $applied = lsn_of('s2', 'applied_lsn');
cmp_ok($applied, '>', 0, 's2 has stopped');
ok(wait_until(sub { ($cluster->ctl('cluster', 'status'))[1] =~ /the journal waits for it no more/ }), 'the journal waits for it no more');
ok(wait_until(sub { fill(500); trimmed($applied) }), 'every journal node has trimmed what it needs');
$cluster->start_all('s2');
ok(copied('s2'), 's2 comes back as a copy') or diag($cluster->log('s2'));

# Taken out.
{
	($code, $out, $err) = $cluster->ctl('storage', 'remove', 'f' x 32);
	is($code, 1, 'a stranger is not removed');
	($code, $out, $err) = $cluster->ctl('storage', 'remove', $cluster->node_id('s2'), '--json');
	is($code, 0, 's2 is removed') or diag($err);
	ok(wait_until(sub { $cluster->log('s2') =~ /has been removed from the cluster/ }), '... and finds out');
	ok(wait_until(sub { my $of = replica('s2'); ($of->{state} // '') eq 'removed' && $of->{lease_left_ms} == 0 }), '... it has no lease any more');
	like(join("\n", @{ status()->{problems} }), qr/has been removed from the cluster and still runs/, '... which status says');
	$cluster->kill('s2', 'TERM');
	$cluster->start_all('s2');
	ok(wait_until(sub { $cluster->log('s2') =~ /has been removed from the cluster/ }), 'a restart does not make it forget');
	$cluster->kill('s2', 'TERM');
}

# Whoever was copied under load has what was acknowledged: the server reads from one after the other.
$cluster->check_workers($node, 't', $workers);
my $sum = 'SELECT count(*), sum(n), (SELECT sum(hashtext(b)) FROM filler) FROM t';
my $expected = $node->safe_psql('postgres', $sum);
foreach my $name ('s3', 's4')
{
	$node->append_conf('postgresql.conf', "concord.directory = '$cluster->{base}/$name'\nconcord.storage_address = '" . $cluster->address($name) . "'\n");
	$node->restart;
	is($node->safe_psql('postgres', $sum), $expected, "$name has the same rows");
}
$node->stop;
$cluster->stop;
# Page by page, version by version.
foreach my $name ('s1', 's3', 's4')
{
	my $result = PostgreSQL::Test::Utils::run_log([ "$cluster->{ctl}/concordctl", 'check', "$cluster->{base}/$name" ]);
	ok($result, "$name is whole");
}
done_testing();
