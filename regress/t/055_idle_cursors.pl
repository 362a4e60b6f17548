# A session that sits idle with open cursors keeps its read LSN, but no view of the replica: LMDB goes on reusing pages, and the file
# does not grow by those. Each cursor then goes on exactly where it was, in both directions, whatever has become of the rows.
use strict;
use warnings;
use ConcordTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_cluster('main', "concord.retention = 0\n");
$node->safe_psql('postgres', <<'EOT');
CREATE TABLE t (a int PRIMARY KEY, b int, c text);
INSERT INTO t SELECT i, 0, 'row ' || i FROM generate_series(1, 2000) i;
CREATE INDEX t_c ON t (c);
CREATE TABLE u (a int PRIMARY KEY, c text);
CREATE TABLE v (a int PRIMARY KEY, c text);
INSERT INTO u SELECT i, 'row ' || i FROM generate_series(1, 2000) i;
INSERT INTO v SELECT i, 'row ' || i FROM generate_series(1, 2000) i;
ANALYZE;
EOT

# A psql that is told one line after another.
sub open_session
{
	my ($in, $out, $err) = ('', '', '');
	my $handle = IPC::Run::start([ 'psql', '-X', '-At', '-d', $node->connstr('postgres') ], '<', \$in, '>', \$out, '2>', \$err,
		IPC::Run::timeout(120));
	return { in => \$in, out => \$out, err => \$err, handle => $handle };
}

sub run_in
{
	my ($session, $sql) = @_;
	${ $session->{out} } = '';
	${ $session->{in} } .= "$sql\n\\echo done\n";
	$session->{handle}->pump until ${ $session->{out} } =~ /^done$/m;
	my $out = ${ $session->{out} };
	$out =~ s/^done\n//m;
	chomp $out;
	return $out;
}

# name => [settings, query, first fetch, later fetches]
my $off = join('; ', map { "SET LOCAL enable_$_ = off" } qw(hashjoin mergejoin nestloop seqscan indexscan indexonlyscan bitmapscan sort));
sub only { my $sql = $off; $sql =~ s/enable_$_ = off/enable_$_ = on/ foreach @_; return $sql; }
my @cursors = (
	[ 'seq', only('seqscan'), 'SELECT a, b, c FROM t' ],
	[ 'columns', only('seqscan'), 'SELECT c, lower(c) FROM t' ],
	[ 'range', only('indexscan'), 'SELECT a, b, c FROM t WHERE a BETWEEN 101 AND 105' ],
	[ 'text', only('indexscan'), "SELECT c, a FROM t WHERE c > 'row 15' ORDER BY c" ],
	[ 'backward', only('indexscan'), 'SELECT a, b, c FROM t ORDER BY a DESC' ],
	[ 'covered', only('indexonlyscan'), "SELECT c FROM t WHERE c > 'row 15' ORDER BY c" ],
	[ 'bitmap', only('bitmapscan'), 'SELECT a, c FROM t WHERE a IN (3, 5, 7, 1000, 1001, 1002)' ],
	[ 'sorted', only('seqscan', 'sort'), 'SELECT b, c FROM t ORDER BY b, c LIMIT 30' ],
	[ 'hash', only('seqscan', 'hashjoin'), 'SELECT t.c, u.c FROM t JOIN u ON t.c = u.c AND t.a = u.a' ],
	[ 'loop', only('seqscan', 'indexscan', 'nestloop'), 'SELECT t.c, u.c FROM t JOIN u USING (a) WHERE t.a > 10' ],
	[ 'merge', only('indexscan', 'mergejoin'), 'SELECT t.c, u.c FROM t JOIN u USING (a)' ],
	[ 'append', only('seqscan'), 'SELECT a, c FROM t WHERE a <= 4 UNION ALL SELECT a, c FROM u' ],
	[ 'exists', only('seqscan', 'indexscan'), 'SELECT a, c FROM t WHERE EXISTS (SELECT FROM u WHERE u.c = t.c AND u.a > 1)' ],
	[ 'aggregate', only('indexscan'), "SELECT a / 10, max(c), array_agg(b) FROM t GROUP BY a / 10" ],
	[ 'window', only('indexscan'), 'SELECT a, lag(c) OVER (ORDER BY a) FROM t' ],
	[ 'locking', only('seqscan'), 'SELECT a, c FROM t WHERE a > 1990 FOR UPDATE' ],);
my @names = map { $_->[0] } @cursors;

sub declare
{
	my ($session, $cursor) = @_;
	my ($name, $settings, $query) = @$cursor;
	my $scroll = $name =~ /^(seq|range|text|backward|covered)$/ ? 'SCROLL ' : '';
	run_in($session, "$settings; DECLARE c_$name ${scroll}CURSOR FOR $query;");
}

# What each cursor returns when nothing happens between its fetches. Rows come in the order of their keys, also after updates.
my @fetches = ('FETCH 3 FROM', 'FETCH 2 FROM', 'FETCH 4 FROM');
my $session = open_session();
my %expected;
run_in($session, 'BEGIN;');
declare($session, $_) foreach @cursors;
foreach my $name (@names)
{
	$expected{$name} = [ map { run_in($session, "$_ c_$name;") } @fetches ];
}
run_in($session, 'ROLLBACK;');
is(${ $session->{err} }, '', 'cursors of all kinds');

# Every commit frees pages of the tree, which are used again after the next checkpoint. So the file has its size after a while.
my $script = PostgreSQL::Test::Utils::tempdir() . '/update.sql';
append_to_file($script, "\\set a random(1, 1980)\nUPDATE v SET c = 'new' || (:a % 10) WHERE a = :a;\n");
sub file_bytes { return $node->safe_psql('postgres', 'SELECT file_bytes FROM concord.stat_replicas'); }
sub updates { $node->command_ok([ 'pgbench', '-n', '-c', 4, '-t', 1500, '-f', $script, 'postgres' ], 'updates'); }
updates();

my $pid = run_in($session, 'SELECT pg_backend_pid();');
run_in($session, 'BEGIN ISOLATION LEVEL REPEATABLE READ;');
sub view { return $node->safe_psql("postgres", "SELECT read_lsn IS NOT NULL, view_age IS NOT NULL FROM concord.readers WHERE pid = $pid"); }
foreach my $cursor (@cursors)
{
	declare($session, $cursor);
	is(run_in($session, "$fetches[0] c_$cursor->[0];"), $expected{ $cursor->[0] }[0], "$cursor->[0]: the first rows");
	is(view(), 't|f', "$cursor->[0]: a read LSN, no view");
}

my $before = file_bytes();
updates();
updates();
cmp_ok(file_bytes() - $before, '<', 80 * 1024 * 1024, 'the file does not grow by each commit');
$node->safe_psql('postgres', "UPDATE t SET b = b + 1, c = 'new' || c WHERE a <= 1990; DELETE FROM u WHERE a % 2 = 0");
foreach my $i (1, 2)
{
	is(run_in($session, "$fetches[$i] c_$_;"), $expected{$_}[$i], "$_: the rows that follow ($i)") foreach @names;
}
is(${ $session->{err} }, '', 'no error');
run_in($session, 'ROLLBACK;');
${ $session->{in} } .= "\\q\n";
$session->{handle}->finish;
$node->stop;
done_testing();
