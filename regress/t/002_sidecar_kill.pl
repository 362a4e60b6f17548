# The sidecar is killed with -9 under load, again and again: every acknowledged commit is there, nothing is there twice, and the
# index agrees with the table.
use strict;
use warnings;
use ConcordTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

my $kills = $ENV{CONCORD_KILLS} // 5;
my $node = new_cluster('main');
$node->safe_psql('postgres', 'CREATE TABLE t (w int, n int, PRIMARY KEY (w, n))');
my $workers = start_workers($node, 't', 4);
my $killed = 0;
foreach my $round (1 .. $kills)
{
	sleep 0.5 + rand 1.5;
	my $pid;
	wait_until(sub { defined($pid = sidecar_pid($node)) }, 30);
	$killed++ if $pid && kill('KILL', $pid);
}
is($killed, $kills, "concordd was killed $kills times");
ok(wait_ready($node), 'it commits again');
sleep 1;
my $acked = stop_workers($workers);

my $total = 0;
my @lost;
foreach my $worker (sort keys %$acked)
{
	my %there = map { $_ => 1 } split /\n/, $node->safe_psql('postgres', "SELECT n FROM t WHERE w = $worker");
	foreach my $n (@{ $acked->{$worker} })
	{
		$total++;
		push @lost, "$worker/$n" unless $there{$n};
	}
}
cmp_ok($total, '>', 0, "$total commits were acknowledged");
is("@lost", '', 'every acknowledged commit is there');
my $seq = $node->safe_psql('postgres', 'SET enable_indexscan = off; SET enable_indexonlyscan = off; SET enable_bitmapscan = off;
  SELECT count(*), sum(n), count(DISTINCT (w, n)) FROM t');
my $idx = $node->safe_psql('postgres', 'SET enable_seqscan = off;
  SELECT count(*), sum(n), count(DISTINCT (w, n)) FROM (SELECT w, n FROM t WHERE w >= 0 ORDER BY w, n) x');
is($idx, $seq, 'index and table agree');
my ($rows, undef, $distinct) = split /\|/, $seq;
is($rows, $distinct, 'nothing is there twice');

# Transactions that are large enough to be in the journal in part, and are not decided yet. What a dead sidecar had in memory of
# them is found again, also when checkpoints have come between; and the one that is given up leaves nothing.
$node->safe_psql('postgres', 'CREATE TABLE large (w int, n int, PRIMARY KEY (w, n))');
my $dir = PostgreSQL::Test::Utils::tempdir();
my @loads;
foreach my $w (1 .. 3)
{
	push @loads, start_session($node, "load$w", "BEGIN; COPY large FROM PROGRAM 'seq -f $w,%.0f 1 60000' (FORMAT csv);
\\! touch $dir/loaded$w; until [ -e $dir/go$w ]; do sleep 0.02; done
" . ($w == 2 ? 'ROLLBACK;' : 'COMMIT;'));
	ok(wait_until(sub { -e "$dir/loaded$w" }, 60), "load $w waits for its end");
	$node->safe_psql('postgres', "INSERT INTO large VALUES (0, $w)");
	kill 'KILL', sidecar_pid($node);
	ok(wait_ready($node), 'it commits again');
}
my $log_end = -s $node->logfile;
foreach my $w (1 .. 3)
{
	append_to_file("$dir/go$w", '');
	$loads[$w - 1]{handle}->finish;
	is($loads[$w - 1]{err}, '', "load $w has ended as it was told");
}
is($node->safe_psql('postgres', 'SELECT w, count(*), sum(n) FROM large GROUP BY w ORDER BY w'),
	"0|3|6\n1|60000|1800030000\n3|60000|1800030000", 'the loads are there, whole');
is($node->safe_psql('postgres', 'SELECT w, count(*), sum(n) FROM large WHERE w > 0 AND n > 0 GROUP BY w ORDER BY w'),
	"1|60000|1800030000\n3|60000|1800030000", 'so is their index');
unlike(slurp_file($node->logfile, $log_end), qr/critical|corrupt/i, 'no damage was seen');

# A dead sidecar is an error with a hint, and the backend lives on.
$node->append_conf('postgresql.conf', "concord.read_timeout = '300ms'\nconcord.commit_timeout = '300ms'");
$node->reload;
kill 'STOP', sidecar_pid($node);
my ($status, $out, $err);
wait_until(sub { ($status, $out, $err) = $node->psql('postgres', 'INSERT INTO t VALUES (99, 1)'); $status != 0 }, 20);
like($err, qr/08007|08006|not available|not known|sidecar|adjudicator/i, 'a stopped sidecar is a clear error');
kill 'CONT', sidecar_pid($node);
$node->append_conf('postgresql.conf', "concord.read_timeout = '30s'\nconcord.commit_timeout = '30s'");
$node->reload;
ok(wait_ready($node), 'it goes on when the sidecar does');
unlike(slurp_file($node->logfile), qr/server process .* was terminated by signal|PANIC/, 'no backend crashed');
$node->stop;
done_testing();
