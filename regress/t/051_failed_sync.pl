# A sync of the journal fails: no commit is accepted until a restart, and that is said; reads go on; nothing acknowledged is lost, and
# nothing refused is there. The same with the other files.
use strict;
use warnings;
use ConcordTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $faulty = faulty_sidecar('--segment-size' => 1048576);
my $node = new_cluster('main', $faulty->{conf} . "concord.commit_timeout = '5s'\nconcord.read_timeout = '5s'\n");

sub sql
{
	my ($status, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\n$_[0]");
	return ($out, $err);
}

# Holds what workers were told against the table.
sub check_rows
{
	my ($name, $acked, $refused) = @_;
	my %there = map { $_ => 1 } split /\n/, $node->safe_psql('postgres', "SELECT w || ' ' || n FROM t");
	my @lost = grep { !$there{$_} } map { my $w = $_; map { "$w $_" } @{ $acked->{$w} } } keys %$acked;
	is("@lost", '', "$name: every acknowledged commit is there");
	my @told = map { my $w = $_; map { "$w $_" } @{ $refused->{$w} } } keys %$refused;
	is(join(' ', grep { $there{$_} } @told), '', "$name: none of the @{[scalar @told]} refused is there");
	return (scalar keys %there, scalar @told);
}

$node->safe_psql('postgres', 'CREATE TABLE t (w int, n int, PRIMARY KEY (w, n))');
my $workers = start_workers($node, 't', 4);
ok(wait_until(sub { (sql('SELECT count(*) FROM t'))[0] > 100 }), 'there are commits');
my $pid = sidecar_pid($node);
set_faults($faulty, 'sync segment EIO');
ok(wait_until(sub { slurp_file($node->logfile) =~ /level=critical .*the journal has stopped: .*segment: Input\/output error/ }, 30),
	'the log says so in a line');
my $acked = stop_workers($workers);

# The disk is well again; the kernel may have dropped what it could not write, so that changes nothing.
set_faults($faulty);
my ($out, $err) = sql('INSERT INTO t VALUES (99, 1)');
like($err, qr/58030: could not commit: the journal has stopped.*HINT:  Nothing of this transaction was committed.*restart/s,
	'a commit is refused, with a hint');
my ($rows) = sql('SELECT count(*) FROM t');
cmp_ok($rows, '>', 100, 'reads go on');
sleep 4;    # longer than the lease of the LSN page
is((sql('SELECT count(*) FROM t'))[0], $rows, 'and go on');
like((sql('INSERT INTO t VALUES (99, 2)'))[1], qr/58030/, 'no commit is accepted still');
is(sidecar_pid($node), $pid, 'the sidecar has not restarted by itself');
my $log = slurp_file($node->logfile);
my $lines = () = $log =~ /the journal has stopped:/g;
is($lines, 1, 'it was said once');

# What was in flight when the sync failed: 08007, or refused.
unlike($log, qr/ERROR:  (?!could not commit|the outcome of the commit is not known|Concord's sidecar is not available)/,
	'no other error');

# A group that may be in the page cache only is written again before anything is built on it.
unlink "$faulty->{control}.hits";
set_faults($faulty, 'write segment LOG', 'sync segment LOG');
$node->stop('immediate');
$node->start;
ok(wait_ready($node), 'a restart recovers');
my @calls = grep { /segment$/ } split /\n/, slurp_file("$faulty->{control}.hits");
like(join(' ', map { (split / /)[0] } @calls), qr/^write sync write sync/, 'the last group is written again and synced, then comes the mark');
my ($there, $refused) = check_rows('segment', $acked, { %{ $workers->{refused} }, 99 => [ 1, 2 ] });
cmp_ok($refused, '>=', 2, 'those that were told so');
cmp_ok($there, '<=', $rows + 4, 'at most what was in flight besides');
set_faults($faulty);

# The replica's own file: the sidecar stops, and at the next start goes back to its checkpoint.
$node->safe_psql('postgres', 'INSERT INTO t VALUES (100, 1)');
set_faults($faulty, 'sync data.mdb EIO');
$node->psql('postgres', 'INSERT INTO t VALUES (100, 2)');
ok(wait_until(sub { slurp_file($node->logfile) =~ /data\.mdb: sync failed, the state returns to the last checkpoint/ }, 30),
	'a failed sync of the replica is told');
set_faults($faulty);
$node->restart('immediate');
ok(wait_ready($node), 'a restart recovers');
like(slurp_file($node->logfile), qr/storage went back to its checkpoint .*: the machine restarted or a sync failed/,
	'the replica goes back to its checkpoint');
like($node->safe_psql('postgres', 'SELECT n FROM t WHERE w = 100 ORDER BY n'), qr/^1/, 'the journal replays what the replica gave up');
# The other files, under load: what the log says, and whether commits end.
foreach my $case (
	[ 'directory of the journal', 'sync /concord/journal$ EIO', qr{level=critical .*the journal has stopped: .*/journal: Input/output error}, 1 ],
	[ 'state of the journal', 'sync /journal/state EIO', qr{cannot lead, .*/journal/state\S*: Input/output error}, 1 ],
	[ 'saved checkpoint', 'sync /storage/meta.saved EIO', qr{the last checkpoint was not taken.*/meta\.saved\S*: Input/output error}, 0 ])
{
	my ($name, $rule, $says, $ends) = @$case;
	my $log_end = -s $node->logfile;
	$node->safe_psql('postgres', 'TRUNCATE t');
	$workers = start_workers($node, 't', 4);
	ok(wait_until(sub { (sql('SELECT count(*) FROM t'))[0] > 100 }), "$name: there are commits");
	set_faults($faulty, $rule);
	# It is written for a new leader only.
	kill 'KILL', sidecar_pid($node) if $rule =~ /state/;
	ok(wait_until(sub { slurp_file($node->logfile, $log_end) =~ $says }, 60), "$name: the log says so")
	  or diag(grep { /level=/ } split /^/, slurp_file($node->logfile, $log_end));
	if ($ends)
	{
		like((sql('INSERT INTO t VALUES (99, 3)'))[1], qr/ERROR:  (58030|08006)/, "$name: a commit is refused");
	}
	else
	{
		my ($rows) = sql('SELECT count(*) FROM t');
		ok(wait_until(sub { (sql('SELECT count(*) FROM t'))[0] > $rows + 100 }), "$name: commits go on");
	}
	$acked = stop_workers($workers);
	set_faults($faulty);
	$node->stop('immediate');
	$node->start;
	ok(wait_ready($node), "$name: a restart recovers");
	check_rows($name, $acked, { %{ $workers->{refused} }, 99 => [ 3 ] });
}
unlike(slurp_file($node->logfile), qr/PANIC|terminated by signal (6|11)/, 'nothing crashed');
$node->stop;
done_testing();
