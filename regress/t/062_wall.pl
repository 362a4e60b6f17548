# The wall between C and C++: an exception behind it becomes an SQL error, and an SQL error between C++ objects leaves none of them
# behind. Counted in one backend over more than a thousand statements that fail, at each call of the bridge that may fail.
use strict;
use warnings;
use ConcordTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_cluster('main', "log_min_messages = panic\n");
$node->safe_psql('postgres', q{
CREATE FUNCTION wall_live() RETURNS text AS '$libdir/concord', 'concord_wall_live' LANGUAGE C;
CREATE FUNCTION wall_fault(calls int, kind int) RETURNS void AS '$libdir/concord', 'concord_wall_fault' LANGUAGE C;
CREATE FUNCTION wall_fault_left() RETURNS int AS '$libdir/concord', 'concord_wall_fault_left' LANGUAGE C;
CREATE TABLE w (id int PRIMARY KEY, a int, b text);
CREATE INDEX ON w (a);
INSERT INTO w SELECT g, g % 10, repeat('x', 100) FROM generate_series(1, 200) g;
CREATE TABLE t (id int PRIMARY KEY, a int);
INSERT INTO t SELECT g, g FROM generate_series(1, 20) g;
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  IF NEW.id = 15 THEN RAISE EXCEPTION 'refused'; END IF; RETURN NEW; END $$;
CREATE TRIGGER refuse AFTER UPDATE ON t FOR EACH ROW EXECUTE FUNCTION refuse();
ANALYZE w;
});

my @statements = (
	'SELECT count(*), sum(a) FROM w;',
	'SELECT b FROM w WHERE id BETWEEN 10 AND 60 ORDER BY id DESC;',
	'SELECT w1.id FROM w w1 JOIN w w2 USING (id) JOIN w w3 ON w3.a = w1.a AND w3.id = w1.id + 10;',
	"BEGIN; INSERT INTO w SELECT g, g, 'new' FROM generate_series(1000, 1010) g; SELECT sum(a) FROM w; ROLLBACK;",
	'UPDATE w SET a = a + 1 WHERE id < 20;',
	"INSERT INTO w VALUES (7, 7, 'x') ON CONFLICT (id) DO UPDATE SET b = excluded.b;",
	'SELECT * FROM w WHERE id IN (1, 5, 9) FOR UPDATE;',
	'BEGIN; DECLARE c CURSOR FOR SELECT * FROM w; FETCH 5 FROM c; SAVEPOINT s; UPDATE w SET a = 1 WHERE id = 3; ROLLBACK TO s;'
	  . ' FETCH 5 FROM c; COMMIT;',
	'DO $$ BEGIN FOR i IN 1..3 LOOP BEGIN UPDATE w SET a = a WHERE id = i; PERFORM 1 / (id - 3) FROM w;'
	  . ' EXCEPTION WHEN division_by_zero THEN NULL; END; END LOOP; END $$;',
	'BEGIN; CREATE TABLE x AS SELECT * FROM w; CREATE INDEX ON x (a); ROLLBACK;',
	'DELETE FROM t WHERE id = 21; INSERT INTO t VALUES (21, 1);');
# These fail by themselves, while scans, cursors and own writes are alive.
my @failing = (
	'SELECT 1 / (id - 50) FROM w;',
	'SELECT 1 / (id - 50) FROM w WHERE id > 10 ORDER BY id;',
	'SELECT 1 / (w1.id - 20) FROM w w1 JOIN w w2 ON w2.a = w1.a JOIN w w3 ON w3.id = w2.id;',
	'UPDATE w SET a = 1 / (id - 30);',
	'UPDATE t SET a = a + 1;',
	"INSERT INTO w SELECT g, g, 'x' FROM generate_series(500, 400, -1) g UNION ALL SELECT 5, 5, 'x';",
	'BEGIN; DECLARE c CURSOR FOR SELECT 1 / (id - 10) FROM w ORDER BY id; FETCH 5 FROM c; FETCH 20 FROM c; COMMIT;',
	'BEGIN; INSERT INTO t VALUES (100, 1); SAVEPOINT s; INSERT INTO t VALUES (101, 1); SELECT 1 / (id - 101) FROM t; ROLLBACK;');

my $script = "\\set VERBOSITY terse\nSET enable_seqscan = on;\nSELECT 'pid ' || pg_backend_pid();\n";
sub step
{
	my ($sql, $calls, $kind) = @_;
	# One message with all its statements, so that what follows a failure in it is not run.
	$sql =~ s/; (?=\S)/\\; /g unless $sql =~ /^DO/;
	$script .= "\\o /dev/null\nSELECT wall_fault($calls, $kind);\n$sql\n\\set failed :ERROR\nROLLBACK;\n\\o\n"
	  . "SELECT 'failed :failed hit ' || (wall_fault_left() = 0);\n" =~ s/:failed/' || :'failed' || '/r
	  . "SELECT wall_fault(0, 0) \\g /dev/null\nSELECT wall_live();\n";
	return;
}
foreach my $i (0 .. $#statements)
{
	step($statements[$i], $_, ($_ + $i) % 3) foreach 1 .. 80;
}
foreach my $round (1 .. 40)
{
	step($_, 0, 0) foreach @failing;
}
# Within a transaction that goes on: a subtransaction that fails gives back what it took, but for the numbers by which its versions
# were named, which are not used again before the transaction ends.
$script .= "BEGIN;\n";
foreach my $round (1 .. 50)
{
	$script .= "SAVEPOINT s;\n\\o /dev/null\n$_\n\\o\nROLLBACK TO s;\nSELECT regexp_replace(wall_live(), 'writes=\\d+', 'writes=0');\n" foreach grep { !/BEGIN/ } @failing;
}
$script .= "COMMIT;\nSELECT 'pid ' || pg_backend_pid();\n";

my ($out, $err) = ('', '');
IPC::Run::run([ 'psql', '-X', '-q', '-At', '-d', $node->connstr('postgres') ], '<', \$script, '>', \$out, '2>', \$err)
  or BAIL_OUT("psql failed: $err");
my @pids = $out =~ /^pid (\d+)$/mg;
is(scalar(@pids), 2, 'the script ran to its end');
is($pids[1], $pids[0], 'in one backend');
my $failed = () = $out =~ /^failed true hit/mg;
my $survived = () = $out =~ /^failed false hit true$/mg;
cmp_ok($failed, '>', 700, "$failed statements failed");
note("$survived statements came through although a call had failed");
my @live = $out =~ /^(cursors=.*)$/mg;
cmp_ok(scalar(@live), '>', 1400, 'what is alive was looked at after each');
my @leaks = grep { $_ ne 'cursors=0 scans=0 views=0 pins=0 writes=0 resources=0' } @live;
is("@leaks[0 .. ($#leaks > 4 ? 4 : $#leaks)]", '', 'nothing was left behind');
unlike($err, qr/server closed the connection/, 'no backend crashed');
my %messages;
$messages{$1}++ while $err =~ /ERROR:  (.*)/g;
note("$messages{$_} x $_") foreach sort keys %messages;
is($node->safe_psql('postgres', 'SELECT count(*), sum(id) FROM w'), '200|20100', 'and the rows are what they were');
$node->stop;
done_testing();
