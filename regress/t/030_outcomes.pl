# A commit is stopped at each of its steps (core/pause_points.h), a fault strikes there, and what the client is told must agree
# with what is there afterwards: success means there; an error means not there, unless it says committed or unknown; and unknown
# only where the connection is lost. CONCORD_MATRIX=full strikes with every fault at every point; without it the faults that
# restart the server take turns.
use strict;
use warnings;
use ConcordTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $limit = 30;    # seconds for any answer; far above what it takes
my $full = ($ENV{CONCORD_MATRIX} // '') eq 'full';
my $dir = PostgreSQL::Test::Utils::tempdir();
$ENV{CONCORD_PAUSE_DIR} = $dir;

my @all_points = grep { !/^sweep|^snapshot|_copying$/ } slurp_file("$ENV{TESTDIR}/pause_points.h") =~ /X\(\w+, "(\w+)"\)/g;
my @large_points = grep { /chunk|staged/ } @all_points;	# of a transaction that sends chunks ahead
my @points = grep { !/chunk|staged/ } @all_points;	# of any commit
is(scalar @large_points, 3, 'the points of chunks are there');
cmp_ok(scalar @points, '>', 10, 'the list of pause points is there');
my %rank = map { $points[$_] => $_ } 0 .. $#points;

# log_min_duration_statement: a log line after the commit serves interrupts, which must not turn success into an error.
my $node = new_cluster('main', "log_min_duration_statement = 0\nconcord.commit_timeout = '60s'\n");
$node->safe_psql('postgres', 'CREATE TABLE t (a int PRIMARY KEY, b text); CREATE INDEX ON t (b); CREATE TABLE big (a int PRIMARY KEY, b text)');
my $big_rows = 100;	# of 32 kB: three chunks go ahead

sub pid_of
{
	my ($condition) = @_;
	return $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE $condition");
}

sub kill_process
{
	my ($pid) = @_;
	return $pid && kill('KILL', $pid);
}

my $timeout_ms;	# of the case's statement
# What each fault does to the session of that name; true if it struck.
my %strike = (
	cancel => sub { $node->safe_psql('postgres', "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name = '$_[0]'") eq 't' },
	terminate => sub { $node->safe_psql('postgres', "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '$_[0]'") eq 't' },
	timeout => sub { sleep 2 * $timeout_ms / 1000; 1 },
	kill_sidecar => sub { kill_process(sidecar_pid($node)) },
	kill_backend => sub { kill_process(pid_of("application_name = '$_[0]'")) },
	kill_gateway => sub { kill_process(pid_of("backend_type = 'concord gateway'")) },
	terminate_gateway => sub { my $pid = pid_of("backend_type = 'concord gateway'"); $pid && kill('TERM', $pid) },
	terminate_launcher => sub { my $pid = pid_of("backend_type = 'concord launcher'"); $pid && kill('TERM', $pid) },
	immediate => sub { $node->stop('immediate'); 1 });
my %is_gentle = map { $_ => 1 } qw(cancel timeout terminate);

# What the client was told: committed, refused, unknown, lost, or the text that is none of these.
sub answer_of
{
	my ($session) = @_;
	my $text = $session->{out} . $session->{err};
	return 'committed' if $session->{out} =~ /^told false/m || $session->{err} =~ /is committed at LSN|are committed at LSN/;
	return 'unknown' if $session->{out} =~ /^told true 08007/m || $session->{err} =~ /08007/;
	return 'refused' if $session->{out} =~ /^told true \w{5}/m || $session->{err} =~ /FATAL:  57P01/;
	return 'lost' if $text =~ /server closed the connection|57P02|connection to server was lost|no connection to the server/;
	return "not understood: $text";
}

sub ended_early
{
	my ($session) = @_;
	eval { $session->{handle}->pump_nb };
	return $session->{out} =~ /^told true 57014/m;
}

sub arm { append_to_file("$dir/$_[0]", ''); }
sub release { unlink "$dir/$_[0]", "$dir/$_[0].reached"; }

my $id = 0;
sub run_case
{
	my ($point, $fault, $large, $patience) = @_;
	$id++;
	$patience //= 1;
	my $name = "$fault at $point" . ($large ? ' of a large transaction' : '');
	my $session_name = "case$id";
	# Small leases of row ids are used up now and then, and a case is about the commit of the row, not of a lease.
	$node->safe_psql('postgres', "INSERT INTO t VALUES (-$id, 'before')");
	# That one's steps must be over, or they are taken for the case's: it is acknowledged before the gateway's sender and the replica have
	# come to their last points. The status is asked for through the sender, and is of a replica that has published.
	wait_until(sub { $node->safe_psql('postgres', 'SELECT applied_lsn >= committed_lsn FROM concord.status') eq 't' }, $limit)
	  or die 'the replica does not apply';
	my $insert = $large
	  ? "INSERT INTO big SELECT 1000 * $id + i, (SELECT string_agg(md5((1000 * i + j)::text), \$\$\$\$) FROM generate_series(1, 1000) j) FROM generate_series(1, $big_rows) i"
	  : "INSERT INTO t VALUES ($id, '$fault')";
	$timeout_ms = ($large ? 1500 : 200) * $patience;
	$insert = "SET statement_timeout = $timeout_ms;\nDO \$do\$ BEGIN $insert; COMMIT; END \$do\$" if $fault eq 'timeout';
	# Where the client is answered before the fault strikes, its session must still be there: it stays until that has struck.
	arm($point);
	arm('stay');
	my $session = start_session($node, $session_name,
		"$insert;\n\\echo told :ERROR :SQLSTATE\n\\! while [ -e $dir/stay ]; do sleep 0.02; done\nSELECT pg_sleep(0.2);");
	my $reached = wait_until(sub { -e "$dir/$point.reached" || $fault eq 'timeout' && ended_early($session) }, $limit) && -e "$dir/$point.reached";
	if (!$reached && $fault eq 'timeout' && ended_early($session) && $patience < 1000)
	{
		# The machine is too busy for so short a time-out: it struck before the point.
		release($_) foreach 'stay', $point;
		eval { $session->{handle}->finish };
		return run_case($point, $fault, $large, 4 * $patience);
	}
	my $struck = $reached && $strike{$fault}->($session_name);
	release('stay');
	sleep 0.05;
	my $start = time;
	release($point);
	eval { $session->{handle}->finish };
	my $took = time - $start;
	release($point);
	if ($fault eq 'immediate') { $node->start }
	my $ready = $is_gentle{$fault} || wait_ready($node);
	my $answer = answer_of($session);
	my $there = $node->safe_psql('postgres', $large ? "SELECT count(*) FROM big WHERE a / 1000 = $id" : "SELECT count(*) FROM t WHERE a = $id");
	$there = 1 if $large && $there == $big_rows;

	my @wrong;
	push @wrong, 'the point was not reached' unless $reached;
	push @wrong, 'the fault did not strike' unless $struck;
	push @wrong, "the answer took $took s" if $took > $limit;
	push @wrong, 'the server does not commit afterwards' unless $ready;
	push @wrong, "answer $answer" unless $answer =~ /^(committed|refused|unknown|lost)$/;
	push @wrong, "answer $answer, although it could be settled" if $is_gentle{$fault} && $answer =~ /unknown|lost/;
	push @wrong, "answer $answer, although nobody asked to end it"
	  if $fault =~ /kill_sidecar|terminate_gateway|terminate_launcher/ && $answer ne 'committed';
	push @wrong, "told committed, there $there" if $answer eq 'committed' && $there ne '1';
	push @wrong, "told refused, there $there" if $answer eq 'refused' && $there ne '0';
	# The postmaster ends sessions with a word of rollback; where that is not true, another has to be said.
	push @wrong, 'there, and nobody said that it may be'
		if $there eq '1' && $answer eq 'lost' && $fault =~ /kill_gateway|immediate/;
	push @wrong, "there $there" unless $there =~ /^[01]$/;
	push @wrong, 'it was durable and is not there' if ($rank{$point} // -1) >= $rank{journal_synced} && $there ne '1';
	push @wrong, 'nobody knew of it, and it is there'
		if $there ne '0' && ($fault eq 'kill_backend' && $point eq 'backend_encoded'
			|| $fault =~ /kill_gateway|immediate/ && $point =~ /^gateway_(taken|before_send)$/);
	ok(!@wrong, "$name: $answer" . ($there ? ', there' : '')) or diag(join("\n", @wrong, $session->{out}, $session->{err}));
}

my @gentle = qw(cancel timeout terminate kill_sidecar);
my @harsh = qw(kill_backend kill_gateway immediate terminate_gateway terminate_launcher);
my $turn = 0;
foreach my $point (@points)
{
	run_case($point, $_) foreach @gentle, $full ? @harsh : $harsh[ $turn++ % @harsh ];
}
# A large transaction is there wholly or not at all, wherever its chunks are. A step of the adjudicator has its turn too.
foreach my $point (@large_points, 'adjudicator_decided')
{
	run_case($point, $_, 1) foreach @gentle, @harsh;
}

# While the adjudicator cannot be asked, a cancelled commit is unknown within seconds, and says so; nobody waits for long.
$node->safe_psql('postgres', "INSERT INTO t VALUES (-$id - 1, 'before')");
arm('adjudicator_received');
my $session = start_session($node, 'stuck', "INSERT INTO t VALUES (0, 'stuck');\n\\echo told :ERROR :SQLSTATE");
ok(wait_until(sub { -e "$dir/adjudicator_received.reached" }, $limit), 'the adjudicator does not answer');
ok($strike{cancel}->('stuck'), 'the commit is cancelled');
my $start = time;
$session->{handle}->finish;
cmp_ok(time - $start, '<', $limit, 'the client got its answer');
is(answer_of($session), 'unknown', '... which is 08007');
release('adjudicator_received');
ok(wait_ready($node), 'it goes on');
like($node->safe_psql('postgres', 'SELECT count(*) FROM t WHERE a = 0'), qr/^[01]$/, 'the row is there or not');

is($node->safe_psql('postgres', "SET enable_seqscan = off; SELECT count(*), sum(a) FROM t WHERE b > ''"),
	$node->safe_psql('postgres', "SET enable_indexscan = off; SET enable_indexonlyscan = off; SET enable_bitmapscan = off;
	  SELECT count(*), sum(a) FROM t WHERE b > ''"), 'index and table agree');
unlike(slurp_file($node->logfile), qr/was terminated by signal (?!9)|PANIC/, 'nothing crashed but what was killed');
$node->stop;
done_testing();
