# Each role in a process of its own, and a server that starts none: whichever is killed, what was acknowledged is there.
use strict;
use warnings;
use ConcordTest;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

chomp(my $daemon = `pg_config --pkglibdir`);
$daemon .= '/concordd';
my $base = PostgreSQL::Test::Utils::tempdir_short();
my %handles;

sub journal_at { return "--journal-address=unix:$base/$_[0]/concordd.sock"; }

sub start_role
{
	my ($role, $dir, @options) = @_;
	$handles{$dir} = IPC::Run::start([ $daemon, '--roles', $role, '--dir', "$base/$dir", '--lock-wait-ms', '10000', @options ],
		'<', \undef, '>>', "$base/$dir.log", '2>&1');
	ok(wait_until(sub { -e "$base/$dir.log" && slurp_file("$base/$dir.log") =~ /ready address/ }, 20), "$role is ready in $dir");
}

sub kill_role
{
	my ($dir, $signal) = @_;
	$handles{$dir}->signal($signal);
	# A failed process is what is wanted of KILL.
	eval { $handles{$dir}->finish; 1 } or note($@);
	append_to_file("$base/old.log", slurp_file("$base/$dir.log"));
	unlink "$base/$dir.log";
}

# Its exit code and what it said.
sub refused
{
	my (@options) = @_;
	my ($out, $err) = ('', '');
	IPC::Run::run([ $daemon, @options ], '<', \undef, '>', \$out, '2>', \$err, IPC::Run::timeout(60));
	return ($? >> 8, $err);
}

my ($code, $err);
foreach my $role ('storage', 'adjudicator')
{
	($code, $err) = refused('--roles', $role, '--dir', "$base/none");
	is($code, 2, "$role without a journal is wrong usage");
	like($err, qr/without the journal role, --journal-address is needed/, '... and is told so');
}

start_role('journal', 'j');
start_role('storage', 's', journal_at('j'));
start_role('adjudicator', 'a', journal_at('j'));
my %roles = (j => [ 'journal' ], s => [ 'storage', journal_at('j') ], a => [ 'adjudicator', journal_at('j') ]);

my $node = new_cluster('main', "concord.embedded = off\nconcord.directory = '$base/s'\n"
	  . "concord.address = 'unix:$base/a/concordd.sock'\nconcord.storage_address = 'unix:$base/s/concordd.sock'\n");
is(sidecar_pid($node), undef, 'the server has started no sidecar');
$node->safe_psql('postgres', 'CREATE TABLE t (worker int, n int, PRIMARY KEY (worker, n))');
my ($cluster) = slurp_file("$base/j/identity") =~ /^cluster (\w+)$/m;
like(slurp_file("$base/$_/identity"), qr/^cluster $cluster$/m, "$_ is of the journal's cluster") foreach 's', 'a';
my ($replica) = slurp_file("$base/s/replica_id") =~ /^id (\w+)$/m;

my $workers = start_workers($node, 't', 2);
foreach my $dir ('j', 's', 'a')
{
	my $before = $node->safe_psql('postgres', 'SELECT count(*) FROM t');
	kill_role($dir, 'KILL');
	start_role($roles{$dir}[0], $dir, @{ $roles{$dir} }[ 1 .. $#{ $roles{$dir} } ]);
	ok(wait_ready($node), "commits go on after kill -9 of the $roles{$dir}[0]");
	ok(wait_until(sub { $node->safe_psql('postgres', 'SELECT count(*) FROM t') > $before + 20 }), '... those of the workers too');
}
my $acked = stop_workers($workers);

sub missing
{
	my %there = map { $_ => 1 } split /\n/, $node->safe_psql('postgres', "SELECT worker || ' ' || n FROM t");
	return join ', ', grep { !$there{$_} } map { my $w = $_; map { "$w $_" } @{ $acked->{$w} } } sort keys %$acked;
}
cmp_ok(scalar(map { @$_ } values %$acked), '>=', 60, 'much was acknowledged');
is(missing(), '', 'and all of it is there');
# A reader that is reported to the storage process is served as long as it reads: beyond the 10 s for which a replica that has just
# started removes nothing.
my $session = start_session($node, 'old', "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM t; SELECT pg_sleep(15);\n"
	  . 'SELECT count(*) FROM t; COMMIT');
ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE application_name = 'old' AND wait_event = 'PgSleep'"),
	'a reader has its snapshot');
$node->safe_psql('postgres', "DELETE FROM t WHERE n % 2 = $_") foreach 0, 1;
$session->{handle}->finish;
my @counts = grep { $_ ne '' } split /\n/, $session->{out} =~ s/BEGIN|COMMIT//gr;
cmp_ok($counts[0], '>=', 60, 'it sees all rows');
is($counts[1], $counts[0], 'an old snapshot outlasts the retention') or diag($session->{err});

# Another cluster's journal is not touched.
start_role('journal', 'other');
my ($other) = slurp_file("$base/other/identity") =~ /^cluster (\w+)$/m;
foreach my $role ([ 's', 'storage' ], [ 'a', 'adjudicator' ])
{
	kill_role($role->[0], 'TERM');
	($code, $err) = refused('--roles', $role->[1], '--dir', "$base/$role->[0]", journal_at('other'));
	is($code, 1, "$role->[1]: a journal of another cluster is refused");
	like($err, qr/the journal at unix:\S*other\S* is of cluster $other, and \S+ of cluster $cluster; it is not used/, '... with both named');
}
like(slurp_file("$base/j.log"), qr/role=journal sealed: /, 'the own journal was sealed');
unlike(slurp_file("$base/other.log"), qr/role=journal sealed: /, '... and the other one not');
kill_role('other', 'TERM');
($code, $err) = refused('--roles', 'journal', '--dir', "$base/j2", '--join-cluster', 'x');
is($code, 2, 'an id that is none');
($code, $err) = refused('--roles', 'journal', '--dir', "$base/j", '--join-cluster', $other, '--lock-wait-ms', '0');
is($code, 3, 'a directory in use');

$node->stop;
kill_role('j', 'TERM');
($code, $err) = refused('--roles', 'journal', '--dir', "$base/j", '--join-cluster', $other);
is($code, 4, '--join-cluster with a directory of another cluster');
like($err, qr/belongs to cluster $cluster, not to $other/, '... says so');

# All anew from what is on disk; a replica keeps its name.
start_role('journal', 'j');
start_role('storage', 's', journal_at('j'));
start_role('adjudicator', 'a', journal_at('j'));
like(slurp_file("$base/s/replica_id"), qr/^id $replica$/m, 'the replica is called as before');
$node->start;
ok(wait_ready($node), 'a restart of everything');
is($node->safe_psql('postgres', 'SELECT count(*) FROM t'), '0', '... with what was last');
$node->stop;
kill_role($_, 'TERM') foreach 'a', 's', 'j';
done_testing();
