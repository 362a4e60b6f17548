# Metrics of every process of a cluster, scraped as Prometheus does: the text is well-formed, counters rise under load, a fail-over is
# seen, and the dashboard asks for nothing that is not there. An address that is not loopback is refused.
use strict;
use warnings;
use ConcordCluster;
use ConcordTest;
use HTTP::Tiny;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my %ports;
sub port { my ($member) = @_; return $ports{$member} //= PostgreSQL::Test::Cluster::get_free_port(); }

# ---- a reader of the text format that takes nothing that is not by its rules ----

my $name = qr/[a-zA-Z_:][a-zA-Z0-9_:]*/;
my $value = qr/[-+]?(?:[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?|Inf|Na[Nn])/;
my $quoted = qr/"(?:[^"\\\n]|\\[\\"n])*"/;

# Metric -> { type, help, series: { labels -> value } }; dies of what is wrong.
sub parse_metrics
{
	my ($text) = @_;
	my (%metrics, %done, $current);
	die "does not end with a line feed\n" if $text !~ /\n\z/;
	foreach my $line (split /\n/, $text)
	{
		if ($line =~ /^# HELP ($name) (\S.*)$/)
		{
			die "help of $1 twice\n" if $done{$1}++;
			$current = $1;
			$metrics{$current} = { help => $2, series => {} };
		}
		elsif ($line =~ /^# TYPE ($name) (gauge|counter|histogram|summary)$/)
		{
			die "type of $1 is not after its help\n" if ($current // '') ne $1 || $metrics{$1}{type};
			$metrics{$1}{type} = $2;
		}
		elsif ($line =~ /^($name)(?:\{((?:$name=$quoted)(?:,$name=$quoted)*)\})? ($value)$/)
		{
			my ($series, $labels, $number) = ($1, $2 // '', $3);
			die "$series has no type\n" if !defined $current || !$metrics{$current}{type};
			my $suffix = { histogram => '_bucket|_sum|_count', summary => '|_sum|_count' }->{ $metrics{$current}{type} } // '';
			die "$series among those of $current\n" if $series !~ /^\Q$current\E(?:$suffix)$/;
			die "a counter is negative: $line\n" if $metrics{$current}{type} eq 'counter' && $number < 0;
			my %labels;
			while ($labels =~ /($name)=$quoted/g) { die "label $1 twice: $line\n" if $labels{$1}++; }
			die "twice: $line\n" if exists $metrics{$current}{series}{"$series\{$labels\}"};
			$metrics{$current}{series}{"$series\{$labels\}"} = $number;
		}
		else { die "no line of the format: $line\n"; }
	}
	check_histogram($_, $metrics{$_}) foreach grep { $metrics{$_}{type} eq 'histogram' } keys %metrics;
	return \%metrics;
}

sub check_histogram
{
	my ($metric, $histogram) = @_;
	my ($last, $bound, $end) = (0, 0, undef);
	my @buckets = map { [ /le="([^"]+)"/ ? $1 : die("a bucket without a bound: $_\n"), $histogram->{series}{$_} ] } grep { /^\Q$metric\E_bucket/ } keys %{ $histogram->{series} };
	foreach my $bucket (sort { ($a->[0] eq '+Inf') <=> ($b->[0] eq '+Inf') || $a->[0] <=> $b->[0] } @buckets)
	{
		die "$metric: buckets do not rise\n" if $bucket->[1] < $last;
		($end, $last) = @$bucket;
	}
	my ($count) = map { $histogram->{series}{$_} } grep { /^\Q$metric\E_count/ } keys %{ $histogram->{series} };
	die "$metric: its last bucket is not all there is\n" if ($end // '') ne '+Inf' || $last != $count;
}

foreach my $wrong ("a 1\n", "# HELP a b\n# TYPE a gauge\na 1", "# HELP a b\n# TYPE a gauge\nb 1\n", "# HELP a b\n# TYPE a gauge\na 1\na 2\n",
	"# HELP a b\n# TYPE a gauge\na{x=\"\"\"} 1\n", "# HELP a b\n# TYPE a counter\na -1\n", "# HELP a b\n# TYPE a gauge\na one\n",
	"# HELP a b\n# TYPE a histogram\na_bucket{le=\"1\"} 1\na_sum 1\na_count 1\n")
{
	ok(!defined eval { parse_metrics($wrong) }, 'the reader takes no text that is wrong');
}

my $promtool = (grep { -x } map { "$_/promtool" } split /:/, $ENV{PATH})[0] // $ENV{PROMTOOL};
my %seen;    # metric -> type, of all scrapes

sub scrape
{
	my ($member, $check) = @_;
	my $answer = HTTP::Tiny->new(timeout => 60)->get('http://127.0.0.1:' . port($member) . '/metrics');
	return undef if !$answer->{success};
	my $metrics = eval { parse_metrics($answer->{content}) };
	ok(defined $metrics, "$member: well-formed") or diag($@) if $check || !defined $metrics;
	if ($check)
	{
		like($answer->{headers}{'content-type'}, qr/^text\/plain/, '... as plain text');
		if ($promtool)
		{
			my ($out, $err) = ('', '');
			IPC::Run::run([ $promtool, 'check', 'metrics' ], '<', \$answer->{content}, '>', \$out, '2>', \$err);
			is($? . $out . $err, '0', '... also in the eyes of promtool');
		}
	}
	$seen{$_} = $metrics->{$_}{type} foreach keys %$metrics;
	return $metrics;
}

# The sum of a metric's series whose labels match.
sub total
{
	my ($metrics, $metric, $labels) = @_;
	my $sum;
	foreach my $series (keys %{ ($metrics // {})->{$metric =~ s/_(?:bucket|sum|count)$//r}{series} // $metrics->{$metric}{series} // {} })
	{
		next if $series !~ /^\Q$metric\E\{/ || (defined $labels && $series !~ $labels);
		$sum = ($sum // 0) + ($metrics->{$metric} // $metrics->{ $metric =~ s/_(?:bucket|sum|count)$//r })->{series}{$series};
	}
	return $sum;
}

# ---- refusals ----

chomp(my $bin = `pg_config --pkglibdir`);
my $base = PostgreSQL::Test::Utils::tempdir_short();
my $err;
foreach my $address ('0.0.0.0:9471', '192.0.2.1:9471', '[::]:9471')
{
	IPC::Run::run([ "$bin/concordd", '--dir', "$base/none", '--metrics-listen', $address ], '<', \undef, '>', \my $out, '2>', \$err);
	is($? >> 8, 2, "concordd refuses $address");
	like($err, qr/^concordd: --metrics-listen: address \Q$address\E for metrics is not loopback.*127\.0\.0\.1:PORT.*agent or a reverse proxy/s, '... and says what to do');
}
ok(!-e "$base/none", '... before it does anything');
my $taken = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1', LocalPort => 0) or die $!;
IPC::Run::run([ "$bin/concordd", '--dir', "$base/d", '--roles=journal', '--metrics-listen', '127.0.0.1:' . $taken->sockport ], '<', \undef, '>', \my $out, '2>', \$err);
is($? >> 8, 5, 'a port that is taken is one that cannot be listened on');
like($err, qr/127\.0\.0\.1:${\ $taken->sockport} for metrics cannot be bound/, '... which is named');

# ---- a cluster ----

my $cluster = ConcordCluster->new(journals => 3, write_quorum => 2, adjudicators => 2, metrics => \&port);
my $node = $cluster->start_server('main', "concord.metrics_listen = '127.0.0.1:" . port('main') . "'\n");
$node->safe_psql('postgres', 'CREATE TABLE t (worker int, n int, PRIMARY KEY (worker, n))');
# A replica that stands still: what it has taken, and not flushed, is found by the key of a row, and a scan waits.
{
	my ($waits, $seen) = ('', 0);
	# So the planner prefers the key, however small the table is.
	$node->safe_psql('postgres', 'CREATE TABLE small (a int PRIMARY KEY, b int); INSERT INTO small SELECT i, 0 FROM generate_series(1, 30) i; ANALYZE small');
	like($node->safe_psql('postgres', 'EXPLAIN (COSTS OFF) UPDATE small SET b = b + 1 WHERE a = 7'), qr/Index Scan using small_pkey/, 'a row of a small table is looked up');
	$node->safe_psql('postgres', 'CREATE TABLE f (a int PRIMARY KEY, b int); INSERT INTO f VALUES (1, 0)');
	ok(wait_until(sub { defined scrape('main') }), 'the gateway serves');
	foreach my $b (1 .. 20)
	{
		$node->safe_psql('postgres', "UPDATE f SET b = $b WHERE a = 1; SELECT b FROM f WHERE a = 1");
		$cluster->signal('s1', 'STOP');
		my $session = start_session($node, 'scan', 'SELECT sum(b) FROM f;');
		my $is_done = sub { eval { $session->{handle}->pump_nb }; $session->{out} ne '' };
		# It may have been flushed just before.
		wait_until(sub { $is_done->() || ($waits = $node->safe_psql('postgres', "SELECT wait FROM concord.stat_activity WHERE application_name = 'scan'")) eq 'replica flush' }, 20);
		wait_until(sub { $seen = total(scrape('main'), 'concord_qp_backends_waiting', qr/for="replica flush"/) // 0 }, 20) if $waits ne '';
		$cluster->signal('s1', 'CONT');
		$session->{handle}->finish;
		last if $waits ne '';
	}
	is($waits, 'replica flush', 'a scan waits for the flush');
	cmp_ok($seen, '>=', 1, '... which the metrics count');
	is(total(scrape('main'), 'concord_qp_backends_waiting', qr/for="remote read"/), 0, '... and nobody waits for another machine');
	is($node->safe_psql('postgres', 'SELECT sum(b) > 0 FROM f'), 't', '... and goes on with the replica');
}

my $workers = start_workers($node, 't', 2);
$cluster->goes_on($node, 't', 'under the eyes of Prometheus');
my @members = ('a1', 'a2', 'j1', 'j2', 'j3', 's1', 'main');
my %first = map { $_ => scrape($_, 1) } @members;

my %rises = (
	leader => [qw(concord_adjudicator_commits_total concord_adjudicator_durable_seconds_count process_cpu_seconds_total)],
	j1 => [qw(concord_journal_syncs_total concord_journal_written_bytes_total concord_journal_sync_seconds_count concord_journal_sync_seconds_sum concord_journal_sync_records_sum)],
	s1 => [qw(concord_storage_mutations_total concord_storage_apply_seconds_count concord_storage_apply_records_sum)],
	main => [qw(concord_qp_batches_total concord_qp_sent_bytes_total concord_qp_batch_requests_sum concord_qp_round_trip_seconds_count concord_qp_commit_wait_seconds_count)]);
my $leader = $cluster->leader;
$cluster->goes_on($node, 't', 'between two scrapes');
foreach my $member (sort keys %rises)
{
	my $of = $member eq 'leader' ? $leader : $member;
	my $second = scrape($of);
	foreach my $metric (@{ $rises{$member} })
	{
		cmp_ok(total($second, $metric) // -1, '>', total($first{$of}, $metric) // 0, "$of: $metric rises");
	}
}
cmp_ok(total(scrape('main'), 'concord_qp_transactions_total', qr/outcome="committed"/), '>', total($first{main}, 'concord_qp_transactions_total', qr/outcome="committed"/),
	'... and so do the committed transactions of the server');
cmp_ok(total(scrape('main'), 'concord_qp_verdicts_total', qr/outcome="committed"/), '>', 0, '... and verdicts');
# What both count is the same in the end: every commit has a sync, a decision and a verdict.
my $durable = scrape($leader);
cmp_ok(total($durable, 'concord_adjudicator_durable_seconds_count'), '>=', total($first{$leader}, 'concord_adjudicator_commits_total'), 'each commit was timed');

foreach my $member (@members)
{
	my $metrics = $first{$member};
	# The library's own, of its HTTP server, begin with exposer_.
	my @without = grep { !/^exposer_|\{cluster="\Q$cluster->{id}\E"/ } map { keys %{ $_->{series} } } values %$metrics;
	is("@without", '', "$member: all series carry the cluster's id");
	my $age = time - total($metrics, 'process_start_time_seconds');
	ok($age > -5 && $age < 3600, '... and it tells when it was started') or diag($age);
}

# Values that are known from elsewhere.
is(total($durable, 'concord_adjudicator_leads'), 1, 'the leader leads');
is((map { total(scrape($_), 'concord_adjudicator_leads') } grep { $_ ne $leader } 'a1', 'a2')[0], 0, '... and the other one does not');
is(scalar(grep { /address=/ } keys %{ $durable->{concord_adjudicator_journal_written}{series} }), 3, 'it tells of three journal nodes');
is(total($durable, 'concord_adjudicator_journal_written'), 3, '... which all get records');
is(total($durable, 'concord_adjudicator_sessions'), 1, 'one query processor');
ok(abs(time - total($durable, 'concord_adjudicator_committed_lsn_timestamp_seconds')) < 60, 'the newest commit is of now');
my $standby = scrape((grep { $_ ne $leader } 'a1', 'a2')[0]);
ok(abs(time - total($standby, 'concord_adjudicator_followed_lsn_timestamp_seconds')) < 60, '... also for who stands by');
is(total(scrape('s1'), 'concord_storage_query_processors'), 1, 'storage knows one, too');
ok(wait_until(sub { grep { /replica="storage-/ } keys %{ scrape('j1')->{concord_journal_replica_lag_seconds}{series} } }), 'a journal node knows the replica');
is(total(scrape('main'), 'concord_qp_connected'), 1, 'the gateway is connected');

# A conflict and a call that makes no sense are counted.
{
	my $before = scrape($leader);
	$node->safe_psql('postgres', 'CREATE TABLE c (a int PRIMARY KEY); INSERT INTO c VALUES (1)');
	my ($status) = $node->psql('postgres', "SET concord.local_intents = off; BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT * FROM c; UPDATE c SET a = 2;\n"
		  . '\! ' . "psql -X -q -d \"" . $node->connstr('postgres') . "\" -c 'SET concord.local_intents = off; UPDATE c SET a = 3'\nCOMMIT");
	is($status, 3, 'a conflict');
	cmp_ok(total(scrape($leader), 'concord_adjudicator_conflicts_total'), '>', total($before, 'concord_adjudicator_conflicts_total'), '... is counted by the leader');
	cmp_ok(total(scrape('main'), 'concord_qp_transactions_total', qr/outcome="conflict"/), '>', 0, '... and by the server');
	my ($code) = $cluster->ctl('journal', 'remove', '--id', 'nobody');
	isnt($code, 0, 'a request that makes no sense');
}

# ---- fail-over ----

my $terms = total(scrape($leader), 'concord_adjudicator_terms_total');
my $epoch = total(scrape($leader), 'concord_adjudicator_epoch');
cmp_ok($terms, '>=', 1, 'a term has begun');
my $lost = total(scrape('main'), 'concord_qp_sessions_lost_total');
$cluster->kill($leader, 'KILL');
$cluster->goes_on($node, 't', "after kill -9 of $leader");
my $new = $cluster->leader;
isnt($new, $leader, 'another one leads');
my $led = scrape($new, 1);
is(total($led, 'concord_adjudicator_leads'), 1, '... and says so');
cmp_ok(total($led, 'concord_adjudicator_epoch'), '>', $epoch, '... in a newer epoch');
cmp_ok(total($led, 'concord_adjudicator_terms_total'), '>=', 1, '... in a term of its own');
cmp_ok(total(scrape('main'), 'concord_qp_sessions_lost_total'), '>', $lost, 'the gateway has lost a session');
ok(!defined scrape($leader), 'a dead process tells nothing');
# Of two windows, this one's is too small for all there was.
push @{ $cluster->{commands}{$leader} }, '--max-window-keys', '100';
$cluster->start($leader);
ok(wait_until(sub { my $metrics = scrape($leader); $metrics && ($metrics->{concord_adjudicator_leads}{series}) && total($metrics, 'concord_adjudicator_leads') == 0 }), 'started again it stands by');

my ($code, undef, $complaint) = $cluster->ctl('leader', 'transfer');
is($code, 0, 'the lead is transferred') or diag($complaint);
$cluster->goes_on($node, 't', 'after the transfer');
ok(wait_until(sub { (total(scrape($leader), 'concord_adjudicator_leads') // 0) == 1 }), '... which both see') if $cluster->leader eq $leader;
ok(wait_until(sub { defined total(scrape($cluster->leader), 'concord_adjudicator_window_start_timestamp_seconds') }), 'the conflict window has a beginning');
ok(wait_until(sub { defined total(scrape('s1'), 'concord_storage_horizon_timestamp_seconds') }), '... and so has what can be read');

# ---- the server's setting ----

foreach my $address ('0.0.0.0:1', 'unix:/tmp/x', '127.0.0.1')
{
	my ($status, undef, $stderr) = $node->psql('postgres', "ALTER SYSTEM SET concord.metrics_listen = '$address'");
	isnt($status, 0, "the server refuses $address");
	like($stderr, qr/invalid value for parameter "concord\.metrics_listen": "\Q$address\E".*on loopback only.*HINT/s, '... and says why');
}
my $old = port('main');
$ports{main} = PostgreSQL::Test::Cluster::get_free_port();
$node->safe_psql('postgres', "ALTER SYSTEM SET concord.metrics_listen = 'localhost:$ports{main}'");
$node->reload;
ok(wait_until(sub { defined scrape('main') }), 'a reload moves it');
ok(!HTTP::Tiny->new(timeout => 5)->get("http://127.0.0.1:$old/metrics")->{success}, '... from where it was');
# Another one: the workers were forked with the first.
$taken = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1', LocalPort => 0) or die $!;
$node->safe_psql('postgres', "ALTER SYSTEM SET concord.metrics_listen = '127.0.0.1:" . $taken->sockport . "'");
$node->reload;
ok(wait_until(sub { slurp_file($node->logfile) =~ /does not serve metrics, and goes on trying: the address 127\.0\.0\.1:${\ $taken->sockport} / }), 'a port that is taken is told');
$ports{main} = $taken->sockport;
close($taken);
ok(wait_until(sub { defined scrape('main') }), '... and taken when it is free');
$node->safe_psql('postgres', "ALTER SYSTEM SET concord.metrics_listen = ''");
$node->reload;
ok(wait_until(sub { !defined scrape('main') }), 'it can be turned off');

# Signals are for the main thread of the worker.
my $worker = $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE backend_type = 'concord gateway'");
my @taking = grep { my ($mask) = slurp_file("/proc/$worker/task/$_/status") =~ /^SigBlk:\s*(\w+)/m; $_ ne $worker && !(hex($mask) >> 14 & 1) } map { m{/(\d+)$} } glob "/proc/$worker/task/*";
is("@taking", '', 'no thread of the gateway takes SIGTERM but the main one');

# ---- the dashboard ----

chomp(my $share = `pg_config --sharedir`);
my $dashboard = decode_json(slurp_file("$share/concord-grafana.json"));
my %asked;
foreach my $panel (@{ $dashboard->{panels} })
{
	foreach my $target (@{ $panel->{targets} // [] })
	{
		$asked{$_}++ foreach $target->{expr} =~ /\b((?:concord|process)_\w+)/g;
	}
}
cmp_ok(scalar(keys %asked), '>', 40, 'the dashboard asks for much');
my @unknown = grep { my $metric = $_; !$seen{$metric} && ($seen{ $metric =~ s/_(?:bucket|sum|count)$//r } // '') ne 'histogram' } sort keys %asked;
is("@unknown", '', '... and for nothing that was not there');

$cluster->check_workers($node, 't', $workers);

# ---- a server with its own sidecar: both have metrics ----

$node->stop;
$cluster->stop;
my $own = new_cluster('own', "concord.metrics_listen = '127.0.0.1:" . port('own') . "'\nconcord.daemon_metrics_listen = '127.0.0.1:" . port('sidecar') . "'\n");
$own->safe_psql('postgres', 'CREATE TABLE t (a int); INSERT INTO t VALUES (1)');
ok(wait_until(sub { defined scrape('own') }), 'a server');
my $sidecar = scrape('sidecar', 1);
is(total($sidecar, 'concord_adjudicator_leads'), 1, '... and its sidecar');
like((keys %{ $sidecar->{concord_process_info}{series} })[0], qr/roles="adjudicator,journal,storage"/, '... with all roles');
ok(wait_until(sub { total(scrape('sidecar'), 'concord_storage_lag_seconds') == 0 }), '... whose replica has caught up');
$own->stop;
done_testing();
