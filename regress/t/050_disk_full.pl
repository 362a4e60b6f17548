# A full disk under the journal, the storage replica, or both: commits are refused with 53100 and a hint, reads go on, and all
# goes on by itself when there is space.
use strict;
use warnings;
use ConcordTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $faulty = faulty_sidecar('--segment-size' => 1048576);
my $node = new_cluster('main', $faulty->{conf});
my $pid = sidecar_pid($node);

sub sql
{
	my ($status, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\n$_[0]");
	return ($out, $err);
}

# Inserts until a commit is refused; the error. What the disk still has room for goes in before.
my $next = 0;
my $acknowledged = 0;
sub insert_until_refused
{
	my ($rows, $limit) = @_;
	for (1 .. $limit)
	{
		my ($out, $err) = sql("INSERT INTO t SELECT $next, repeat(md5(i::text), 32) FROM generate_series(1, $rows) i");
		return $err if $err ne '';
		$next++;
		$acknowledged += $rows;
	}
	return 'none was refused';
}

sub check_full
{
	my ($name, $rows, $which) = @_;
	my $refusal;
	# The journal looks for space each half second: until then it may still call the disk full that was full before this one.
	wait_until(sub { ($refusal = insert_until_refused($rows, 200)) =~ /$which|none was refused/ }, 30);
	like($refusal, qr/ERROR:  53100: could not commit: .*$which.*HINT:  Free disk space/s, "$name: a commit is refused, with a hint");
	check_recovery($name);
}

sub check_recovery
{
	my ($name) = @_;
	my ($count, $err) = sql("BEGIN; SET LOCAL concord.read_timeout = '5s'; SELECT count(*) FROM t; COMMIT");
	is($count, $acknowledged, "$name: reads go on, and see what was acknowledged");
	set_faults($faulty);
	ok(wait_until(sub { insert_until_refused(1000, 1) eq 'none was refused' }, 30), "$name: it goes on by itself");
	is((sql('SELECT count(*) FROM t'))[0], $acknowledged, "$name: no refused row is there, no other is missing");
}

$node->safe_psql('postgres', 'CREATE TABLE t (a int, b text)');

# No new segment can be made; those in hand are used up first.
set_faults($faulty, 'grow /concord/journal/ ENOSPC');
check_full('journal', 1000, "journal's disk is full");
cmp_ok(fault_hits($faulty, qr/journal/), '>', 0, 'the disk was full indeed');

# Not even what is allocated can be overwritten, as on file systems that copy on write. Nor can anything beside be saved.
set_faults($faulty, 'write /concord/journal/ ENOSPC', 'write /concord/metastore ENOSPC', 'write /concord/lsn_pages ENOSPC');
check_full('journal, copy on write', 1, "journal's disk is full");

set_faults($faulty, 'grow /concord/storage/ ENOSPC');
check_full('replica', 1000, "storage replica's disk is full");
cmp_ok(fault_hits($faulty, qr/data\.mdb/), '>', 0, 'the disk was full indeed');

set_faults($faulty, 'write /concord/storage/ ENOSPC');
# The one commit that nobody could foresee waits for space; what comes once that is known is refused.
my $log_end = -s $node->logfile;
my $waiting = start_session($node, 'waiting', "INSERT INTO t VALUES ($next)");
ok(wait_until(sub { (sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'Extension' AND query LIKE 'INSERT%'"))[0] eq '1' }, 30),
	'replica, copy on write: a commit waits');
ok(wait_until(sub { slurp_file($node->logfile, $log_end) =~ /waits for space, and newer commits with it/ }, 30),
	'replica, copy on write: the log says so');
ok(wait_until(sub { (sql('INSERT INTO t VALUES (-1)'))[1] =~ /53100: could not commit: the storage replica's disk is full/ }, 30),
	'replica, copy on write: commits are refused');
is((sql("SELECT count(*) FROM t"))[0], $acknowledged, 'replica, copy on write: reads go on');
set_faults($faulty);
$waiting->{handle}->finish;
is($waiting->{err}, '', 'the commit that waited is done');
$acknowledged++;
is((sql('SELECT count(*) FROM t'))[0], $acknowledged, 'no refused row is there, no other is missing');

set_faults($faulty, 'grow /concord/ ENOSPC');
check_full('both', 1000, 'disk is full');

is(sidecar_pid($node), $pid, 'the sidecar ran all the time');

# Started on a full disk: what it writes then is written over what it has. Reads go on, and commits are refused as before.
sub start_full
{
	my ($name, @rules) = @_;
	set_faults($faulty, 'grow /concord/ ENOSPC');
	insert_until_refused(1000, 200);
	$pid = sidecar_pid($node);
	$log_end = -s $node->logfile;
	set_faults($faulty, @rules);
	kill 'KILL', $pid;
	ok(wait_until(sub { my $now = sidecar_pid($node); defined $now && $now != $pid }, 30), "$name: the sidecar starts");
}
foreach my $i (1, 2)
{
	start_full("full disk $i", 'grow /concord/ ENOSPC');
	ok(wait_until(sub { (sql("SET concord.read_timeout = '5s'; SELECT count(*) FROM t"))[0] =~ /^(SET\n)?$acknowledged$/ }, 30),
		"full disk $i: it reads what was acknowledged");
	like((sql("SET concord.commit_timeout = '10s'; INSERT INTO t SELECT -1, repeat(md5(i::text), 32) FROM generate_series(1, 20000) i"))[1],
		qr/ERROR:  53100: /, "full disk $i: a commit is refused");
	unlike(slurp_file($node->logfile, $log_end), qr/level=critical/, "full disk $i: nothing else is wrong");
	check_recovery("full disk $i");
}

# Where not even that can be overwritten, as on file systems that copy on write, it says so and tries again.
start_full('full disk, copy on write', 'write /concord/journal/ ENOSPC', 'write /concord/storage/ ENOSPC', 'write /concord/metastore ENOSPC');
ok(wait_until(sub { slurp_file($node->logfile, $log_end) =~ /level=critical .*No space left on device/ }, 30), 'the log says so');
set_faults($faulty);
ok(wait_ready($node), 'the sidecar starts when there is space');
is((sql('SELECT count(*) FROM t'))[0], $acknowledged, 'all rows are there');
# The readers' table is written through a map, so a hole in it would be a SIGBUS. It is gone after a crash of the machine.
$node->stop;
unlink $node->data_dir . '/concord/storage/lock.mdb' or die $!;
set_faults($faulty, 'grow /concord/ ENOSPC');
$log_end = -s $node->logfile;
$node->start;
ok(wait_until(sub { slurp_file($node->logfile, $log_end) =~ m{level=critical .*/storage/lock\.mdb: No space left on device} }, 30),
	'without the file of reader slots it does not start on a full disk');
set_faults($faulty);
ok(wait_ready($node), 'it starts when there is space');
is((sql('SELECT count(*) FROM t'))[0], $acknowledged, 'all rows are there');
unlike(slurp_file($node->logfile), qr/server process .* was terminated by signal|PANIC/, 'no backend crashed');
$node->stop;
done_testing();
