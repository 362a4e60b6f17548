# A sync of the journal fails: no commit is accepted until a restart, and that is said; reads go on; nothing acknowledged is lost.
use strict;
use warnings;
use ConcordTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $faulty = faulty_sidecar();
my $node = new_cluster('main', $faulty->{conf});

sub sql
{
	my ($status, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\n$_[0]");
	return ($out, $err);
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
my %there = map { $_ => 1 } split /\n/, $node->safe_psql('postgres', "SELECT w || ' ' || n FROM t");
my @lost = grep { !$there{$_} } map { my $w = $_; map { "$w $_" } @{ $acked->{$w} } } keys %$acked;
is("@lost", '', 'every acknowledged commit is there');
ok(!$there{'99 1'} && !$there{'99 2'}, 'no refused one is');
cmp_ok(scalar(keys %there), '<=', $rows + 4, 'at most what was in flight besides');
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
unlike(slurp_file($node->logfile), qr/PANIC|terminated by signal (6|11)/, 'nothing crashed');
$node->stop;
done_testing();
