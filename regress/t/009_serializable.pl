# SERIALIZABLE under load, with the sidecar killed -9 in between: each transaction notes what it has read, and what it has replaced. So
# what every committed one depends on is known, and must have no cycle: then they could have run one after another (Adya's
# serialization graph; the check is Elle's, Kingsbury and Alvaro 2020). And what write skew and phantoms would break is whole.
use strict;
use warnings;
use ConcordTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

my $seconds = ($ENV{CONCORD_SECONDS} // 3) * 2;
my $node = new_cluster('main', "max_connections = 50\n");
# The keys move on, so that there are always some that are not there yet.
$node->safe_psql('postgres', <<'EOT');
CREATE SEQUENCE ids;
CREATE TABLE r (k int PRIMARY KEY, k2 int, v int);
CREATE INDEX r_k2 ON r (k2);
CREATE TABLE history (id int PRIMARY KEY, low int, high int, keys int[], vals int[], written int, replaced int);
CREATE TABLE pairs (id int, half int, balance int, PRIMARY KEY (id, half));
INSERT INTO pairs SELECT i, h, 50 FROM generate_series(1, 5) i, generate_series(1, 2) h;
CREATE TABLE numbers (list int, n int);
CREATE INDEX numbers_n ON numbers (list, n);
CREATE FUNCTION step() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	id int := nextval('ids');
	low int := id / 20 + random() * 20;
	high int := low + random() * 3;
	key int := id / 20 + random() * 20;
	how int := random() * 10;
	old int;
	keys int[];
	vals int[];
BEGIN
	IF how < 5 THEN
		SELECT array_agg(k ORDER BY k), array_agg(v ORDER BY k) INTO keys, vals FROM r WHERE k BETWEEN low AND high;
	ELSIF how < 10 THEN
		SELECT array_agg(k ORDER BY k), array_agg(v ORDER BY k) INTO keys, vals FROM r WHERE k2 BETWEEN low AND high;
	ELSE
		SELECT array_agg(k ORDER BY k), array_agg(v ORDER BY k) INTO keys, vals FROM r WHERE k + 0 BETWEEN low AND high;
	END IF;
	PERFORM pg_sleep(random() * 0.004);
	SELECT v INTO old FROM r WHERE k = key;
	IF FOUND THEN
		UPDATE r SET v = id WHERE k = key;
	ELSE
		INSERT INTO r VALUES (key, key, id);
	END IF;
	INSERT INTO history VALUES (id, low, high, keys, vals, key, coalesce(old, 0));
END $$;
CREATE FUNCTION withdraw() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	pair int := 1 + floor(random() * 5);
	side int := 1 + floor(random() * 2);
	amount int := 1 + floor(random() * 30);
BEGIN
	IF (SELECT sum(balance) FROM pairs WHERE id = pair) >= amount THEN
		PERFORM pg_sleep(random() * 0.004);
		UPDATE pairs SET balance = balance - amount WHERE id = pair AND half = side;
	ELSE
		UPDATE pairs SET balance = balance + 60 WHERE id = pair AND half = side;
	END IF;
END $$;
CREATE FUNCTION number() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	l int := 1 + floor(random() * 4);
	last int := coalesce((SELECT max(n) FROM numbers WHERE list = l), 0);
BEGIN
	PERFORM pg_sleep(random() * 0.004);
	INSERT INTO numbers VALUES (l, last + 1);
END $$;
EOT

my $dir = PostgreSQL::Test::Utils::tempdir();
foreach my $name (qw(step withdraw number))
{
	append_to_file("$dir/$name.sql", "BEGIN ISOLATION LEVEL SERIALIZABLE;\nSELECT $name();\nCOMMIT;\n");
}
append_to_file("$dir/look.sql", <<'EOT');
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT count(*), sum(v) FROM r;
SELECT sum(balance) FROM pairs;
SELECT list, max(n) FROM numbers GROUP BY list;
COMMIT;
EOT

# Starts pgbench on these scripts; what fails for want of a serial order is tried anew.
sub start_load
{
	my ($clients, @scripts) = @_;
	my $load = { out => '', err => '' };
	$load->{handle} = IPC::Run::start(
		[ 'pgbench', '-n', '-c', $clients, '-T', $seconds, '--max-tries=20', '--failures-detailed', (map { ('-f', "$dir/$_.sql") } @scripts),
			'-h', $node->host, '-p', $node->port, 'postgres' ],
		'<', \undef, '>', \$load->{out}, '2>', \$load->{err}, IPC::Run::timeout(180));
	return $load;
}

sub run_load
{
	my ($what, $kills) = @_;
	my $writers = start_load(8, qw(step step withdraw number));
	my $readers = start_load(2, 'look');
	foreach my $kill (1 .. $kills)
	{
		sleep $seconds / ($kills + 1) * (0.5 + rand 0.5);
		my $pid;
		wait_until(sub { defined($pid = sidecar_pid($node)) }, 30);
		kill 'KILL', $pid if $pid;
	}
	$_->{handle}->finish foreach ($writers, $readers);
	note($writers->{out}, $writers->{err}, $readers->{err});
	like($readers->{out}, qr/number of failed transactions: 0 /, "$what: who writes nothing never fails");
	my ($retried) = $writers->{out} =~ /number of transactions retried: (\d+)/;
	cmp_ok($retried, '>', 0, "$what: $retried transactions were tried anew");
	ok(wait_ready($node), "$what: it commits at the end");
}

# Every committed transaction, and what it must come before.
sub check_history
{
	my ($what) = @_;
	my (%next, %edges, %degree, @rows);
	foreach my $line (split /\n/, $node->safe_psql('postgres', 'SELECT id, low, high, keys, vals, written, replaced FROM history'))
	{
		my ($id, $low, $high, $keys, $vals, $written, $replaced) = split /\|/, $line;
		my @keys = $keys =~ /(\d+)/g;
		my @vals = $vals =~ /(\d+)/g;
		my %read = map { $_ => 0 } $low .. $high;
		@read{@keys} = @vals;
		push @rows, { id => $id, read => \%read, written => $written, replaced => $replaced };
		$degree{$id} = 0;
	}
	my @lost;
	foreach my $row (@rows)
	{
		push @lost, "$row->{written}/$row->{replaced}" if exists $next{ $row->{written} }{ $row->{replaced} };
		$next{ $row->{written} }{ $row->{replaced} } = $row->{id};
	}
	is("@lost", '', "$what: no version was replaced twice");
	my $add = sub {
		my ($from, $to) = @_;
		return if !$from || !$to || $from == $to || $edges{$from}{$to}++;
		$degree{$to}++;
	};
	my @unknown;
	foreach my $row (@rows)
	{
		$add->($row->{replaced}, $row->{id});
		while (my ($key, $value) = each %{ $row->{read} })
		{
			push @unknown, $value if $value && !exists $degree{$value};
			$add->($value, $row->{id});
			$add->($row->{id}, $next{$key}{$value});
		}
	}
	is("@unknown", '', "$what: nobody has read what was not committed");
	my @free = grep { !$degree{$_} } keys %degree;
	my $ordered = 0;
	while (defined(my $id = pop @free))
	{
		$ordered++;
		foreach my $later (keys %{ $edges{$id} // {} })
		{
			push @free, $later if --$degree{$later} == 0;
		}
	}
	cmp_ok(scalar @rows, '>', 20, "$what: " . @rows . ' transactions are in the history');
	is($ordered, scalar @rows, "$what: there is an order in which they could have run one after another");
	my %last = map { split /\|/ } split /\n/, $node->safe_psql('postgres', 'SELECT k, v FROM r');
	my @wrong = grep { exists $next{$_}{ $last{$_} } } keys %last;
	is("@wrong", '', "$what: the rows are the last ones written");
	return;
}

foreach my $intents ('on', 'off')
{
	my $what = "local intents $intents";
	$node->safe_psql('postgres', "ALTER SYSTEM SET concord.local_intents = $intents; SELECT pg_reload_conf()");
	run_load($what, 2);
	check_history($what);
	is($node->safe_psql('postgres', 'SELECT id FROM pairs GROUP BY id HAVING sum(balance) < 0'), '', "$what: no pair is overdrawn");
	is( $node->safe_psql('postgres', 'SELECT list FROM numbers GROUP BY list HAVING count(*) <> max(n) OR count(*) <> count(DISTINCT n)'),
		'', "$what: no number is there twice, or left out");
}
cmp_ok($node->safe_psql('postgres', "SELECT sum(conflicts) FROM concord.stat_conflicts WHERE kind = 'read'"), '>', 0, 'such conflicts are counted');
unlike(slurp_file($node->logfile), qr/server process .* was terminated by signal|PANIC/, 'no backend crashed');
$node->stop;
done_testing();
