# pgbench's own transactions, with 1 and 16 clients: they run clean and the balances add up. With 32 clients that
# all change one row, or hang children on two parents, no transaction is tried again.
use strict;
use warnings;
use ConcordTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $scale = $ENV{CONCORD_SCALE} // 10;
my $seconds = $ENV{CONCORD_SECONDS} // 3;
my $node = new_cluster('main');
$ENV{PGHOST} = $node->host;
$ENV{PGPORT} = $node->port;
command_ok([ 'pgbench', '-i', '-q', '-s', $scale, 'postgres' ], "pgbench -i -s $scale");
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_class c JOIN pg_am a ON a.oid = c.relam
  WHERE relname LIKE 'pgbench%' AND relkind = 'r' AND amname = 'concord'"), '4', 'its tables are Concord tables');

sub balances
{
	my ($what) = @_;
	my $sums = $node->safe_psql('postgres', 'SELECT (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT coalesce(sum(delta), 0) FROM pgbench_history)
	  AND (SELECT sum(tbalance) FROM pgbench_tellers) = (SELECT coalesce(sum(delta), 0) FROM pgbench_history)
	  AND (SELECT sum(bbalance) FROM pgbench_branches) = (SELECT coalesce(sum(delta), 0) FROM pgbench_history)');
	is($sums, 't', "balances add up after $what");
}

foreach my $clients (1, 16)
{
	foreach my $script ('tpcb-like', 'simple-update', 'select-only')
	{
		my ($out, $err);
		my $ok = IPC::Run::run([ 'pgbench', '-n', '-b', $script, '-c', $clients, '-j', 2, '-T', $seconds, '--max-tries=20', 'postgres' ],
			'>', \$out, '2>', \$err);
		ok($ok, "$script with $clients clients");
		like($out, qr/number of failed transactions: 0 /, "... no failed transaction");
		unlike($err, qr/ERROR|FATAL|aborted/, "... no error") or diag($err);
		my ($tps) = $out =~ /^tps = ([\d.]+)/m;
		note("$script $clients clients: " . ($tps // '?') . ' tps');
		balances("$script, $clients clients") if $script eq 'tpcb-like';
		is($node->safe_psql('postgres', 'SELECT (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT coalesce(sum(delta), 0) FROM pgbench_history)'),
			't', "accounts add up after $script, $clients clients") if $script eq 'simple-update';
		# simple-update leaves tellers and branches out: begin again at zero
		$node->safe_psql('postgres', 'UPDATE pgbench_accounts SET abalance = 0 WHERE abalance <> 0; UPDATE pgbench_tellers SET tbalance = 0;
		  UPDATE pgbench_branches SET bbalance = 0; TRUNCATE pgbench_history') if $script eq 'simple-update';
	}
}
# Scale 1: each transaction of 32 clients updates the same row of pgbench_branches. They wait for each other, none is tried again.
sub clean_run
{
	my ($what, @options) = @_;
	my ($out, $err);
	my $ok = IPC::Run::run([ 'pgbench', '-n', '-c', 32, '-j', 2, '-T', $seconds, @options, 'postgres' ], '>', \$out, '2>', \$err);
	ok($ok, "$what with 32 clients");
	like($out, qr/number of failed transactions: 0 /, "... no failed transaction");
	unlike($err, qr/ERROR|FATAL|aborted/, "... no error") or diag($err);
}

command_ok([ 'pgbench', '-i', '-q', '-s', 1, 'postgres' ], 'pgbench -i -s 1');
clean_run('tpcb-like at scale 1', '-b', 'tpcb-like');
balances('tpcb-like at scale 1');

# Children of one parent, whose total they update: a key lock, and then an update of the same row.
$node->safe_psql('postgres', 'CREATE TABLE bill (id int PRIMARY KEY, total int); INSERT INTO bill VALUES (1, 0), (2, 0);
  CREATE TABLE item (id serial PRIMARY KEY, bill int REFERENCES bill, amount int)');
my $script = PostgreSQL::Test::Utils::tempdir . '/bill.sql';
append_to_file($script, "\\set bill random(1, 2)\n\\set amount random(1, 100)\nBEGIN;\n"
	. "INSERT INTO item(bill, amount) VALUES (:bill, :amount);\nUPDATE bill SET total = total + :amount WHERE id = :bill;\nEND;\n");
clean_run('items of two bills', '-f', $script);
is($node->safe_psql('postgres', 'SELECT count(*) FROM bill WHERE total <> (SELECT coalesce(sum(amount), 0) FROM item WHERE bill = bill.id)'),
	'0', 'the totals are the sums of the items');

unlike(slurp_file($node->logfile), qr/server process .* was terminated by signal|PANIC/, 'no backend crashed');
$node->stop;
done_testing();
