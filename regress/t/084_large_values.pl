# Values of 32 MB (in the long tests, 100) with the default settings: in and out by every way, with the sidecar killed in the middle of a commit, on a full
# disk, and what reading other rows and columns costs beside them.
use strict;
use warnings;
use ConcordTest;
use Digest::SHA;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $megabytes = $ENV{CONCORD_LARGE_MB} // 32;
my $size = $megabytes << 20;
my $dir = PostgreSQL::Test::Utils::tempdir();
my $faulty = faulty_sidecar();
my $node = new_cluster('main', $faulty->{conf});

# Bytes that nothing compresses.
sub make_file
{
	my ($name) = @_;
	system("head -c $size /dev/urandom > $dir/$name") == 0 or die 'head';
	my $sha = Digest::SHA->new(256)->addfile("$dir/$name")->hexdigest;
	return ("$dir/$name", $sha);
}
my ($file, $sha) = make_file('one');
my ($other_file, $other_sha) = make_file('two');

sub sql { return $node->safe_psql('postgres', $_[0]); }

sql('CREATE TABLE t (id int PRIMARY KEY, note text, body bytea)');
sql("INSERT INTO t VALUES (1, 'small', 'x'), (3, 'small', 'y')");
sql("INSERT INTO t VALUES (2, 'large', pg_read_binary_file('$file'))");
my $contents = "SELECT id, note, length(body), encode(sha256(body), 'hex') FROM t WHERE id = 2";
is(sql($contents), "2|large|$size|$sha", 'INSERT: it is there, whole');
is(sql("SELECT octet_length(substring(body from $size - 1000000 for 1000)), count(*) OVER () FROM t WHERE id = 2"), '1000|1', 'substring');

# What is only passed over is not copied, not even touched.
my $read_only = start_session($node, 'reader', "SET enable_indexscan = off;\nSET enable_bitmapscan = off;\nSELECT count(*) FROM t WHERE note = 'none';\n"
	  . "SELECT 'memory ' || pg_read_file('/proc/' || pg_backend_pid() || '/status');\n"
	  . "SELECT sum(id), count(note), max(octet_length(body)) FROM t WHERE note LIKE '%a%';\nBEGIN;\nSELECT id FROM t WHERE id = 2 FOR UPDATE;\nCOMMIT;\n"
	  . "SELECT 'memory ' || pg_read_file('/proc/' || pg_backend_pid() || '/status');");
$read_only->{handle}->finish;
is($read_only->{err}, '', 'filters on other columns');
like($read_only->{out}, qr/^6\|3\|$size$/m, 'the length is known without the value');
my ($before_kb) = $read_only->{out} =~ /memory .*?VmRSS:\s+(\d+) kB/s;
my ($peak_kb) = $read_only->{out} =~ /memory .*memory .*?VmHWM:\s+(\d+) kB/s;
cmp_ok($peak_kb - $before_kb, '<', 16_000, 'a filter on another column, a length and a lock take no memory of the size of the value');

# ANALYZE keeps a sample of rows.
my $analyze = start_session($node, 'analyze', "SELECT 'memory ' || pg_read_file('/proc/' || pg_backend_pid() || '/status');\nANALYZE t;\n"
	  . "SELECT 'memory ' || pg_read_file('/proc/' || pg_backend_pid() || '/status');");
$analyze->{handle}->finish;
is($analyze->{err}, '', 'ANALYZE');
($before_kb) = $analyze->{out} =~ /memory .*?VmRSS:\s+(\d+) kB/s;
($peak_kb) = $analyze->{out} =~ /memory .*memory .*?VmHWM:\s+(\d+) kB/s;
cmp_ok($peak_kb, '<', $before_kb + ($size >> 10) / 2, 'it takes no memory of the size of the value');
is(sql("SELECT attname, null_frac, n_distinct FROM pg_stats WHERE tablename = 't' ORDER BY attname"), "body|0|-1\nid|0|-1\nnote|0|-0.6666667", 'its statistics');

# Changes.
sql("UPDATE t SET note = 'changed' WHERE id = 2");
is(sql($contents), "2|changed|$size|$sha", 'UPDATE of another column');
sql("BEGIN; UPDATE t SET body = pg_read_binary_file('$other_file') WHERE id = 2; SAVEPOINT s; DELETE FROM t; ROLLBACK TO s; COMMIT");
is(sql($contents), "2|changed|$size|$other_sha", 'UPDATE of the value');
sql("INSERT INTO t VALUES (2, 'again', pg_read_binary_file('$file')) ON CONFLICT (id) DO UPDATE SET body = excluded.body");
is(sql($contents), "2|changed|$size|$sha", 'ON CONFLICT DO UPDATE');

# COPY, both ways, into a table that others see and into new storage.
sql("COPY t TO '$dir/copy' (FORMAT binary)");
sql("CREATE TABLE copied (id int, note text, body bytea); COPY copied FROM '$dir/copy' (FORMAT binary)");
sql("BEGIN; CREATE TABLE loaded (id int, note text, body bytea); COPY loaded FROM '$dir/copy' (FORMAT binary); COMMIT");
foreach my $table ('copied', 'loaded')
{
	is(sql("SELECT count(*) FROM t JOIN $table USING (id, note, body)"), 3, "COPY: $table");
}
sql('VACUUM FULL loaded');
sql("ALTER TABLE loaded ADD COLUMN extra text DEFAULT random()::text");
sql('CREATE TABLE made AS SELECT * FROM loaded');
sql('CREATE INDEX ON made (id); CREATE INDEX ON made (md5(body))');
is(sql('SELECT count(*) FROM t JOIN made USING (id, note, body)'), 3, 'rewrites and CREATE TABLE AS');
sql('ANALYZE made');
is(sql("SELECT n_distinct FROM pg_stats WHERE tablename = 'made_md5_idx'"), '-1', 'statistics of an expression over a wide value');
sql('DROP TABLE copied, loaded, made');
unlink "$dir/copy";

# pg_dump | psql.
sql('CREATE DATABASE restored');
$node->safe_psql('restored', 'CREATE EXTENSION concord');
system("pg_dump -d '" . $node->connstr('postgres') . "' -t t | psql -q -X -v ON_ERROR_STOP=1 -d '" . $node->connstr('restored') . "' >/dev/null") == 0
  or fail('dump and restore');
is($node->safe_psql('restored', $contents), "2|changed|$size|$sha", 'pg_dump and restore');
sql('DROP DATABASE restored');

# The sidecar dies while the value is on its way: at several places of the commit, once more before it, and after it.
my @chunks = map { int($_ * $megabytes) } (0.05, 0.2, 0.5, 0.8);
my $resent = sql('SELECT resent FROM concord.stat_commits');
foreach my $i (0 .. $#chunks)
{
	my $id = 10 + $i;
	my $sent = sub { sql('SELECT chunks FROM concord.stat_commits') };
	my $from = $sent->();
	my $session = start_session($node, "killed$i", "INSERT INTO t VALUES ($id, 'killed', pg_read_binary_file('$file'));");
	ok(wait_until(sub { $sent->() - $from >= $chunks[$i] || !$session->{handle}->pumpable }, 60), "$chunks[$i] chunks are on their way");
	kill 'KILL', sidecar_pid($node);
	$session->{handle}->finish;
	is($session->{err}, '', 'the commit goes on with the next sidecar');
	is(sql("SELECT note, encode(sha256(body), 'hex') FROM t WHERE id = $id"), "killed|$sha", 'it is there, whole');
	sql("DELETE FROM t WHERE id = $id");
}
cmp_ok(sql('SELECT resent FROM concord.stat_commits'), '>', $resent, 'some of it was sent again');
sql("BEGIN; INSERT INTO t VALUES (20, 'never', pg_read_binary_file('$file')); INSERT INTO t SELECT n, 'never', '' FROM generate_series(100, 150) n; ROLLBACK");
is(sql('SELECT count(*) FROM t'), 3, 'nothing is left of one that is rolled back');

my ($status, $out, $err) = (0, '', '');
# No room for it: refused before anything is decided, and nothing of it is there. What the file has free is used up first.
sql('CREATE TABLE filling (id int, body bytea)');
set_faults($faulty, 'grow /concord/storage/ ENOSPC');
my $fitting = 0;
while ($fitting < 30)
{
	($status, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\nINSERT INTO filling VALUES ($fitting, pg_read_binary_file('$file'))");
	last if $err ne '';
	$fitting++;
}
like($err, qr/ERROR:  53100: could not commit: the storage replica's disk is full/, "a full disk in the middle, after $fitting that had room: 53100");
is(sql('SELECT count(*) FROM filling'), $fitting, 'reads go on, and nothing of it is there');
unlike(slurp_file($node->logfile), qr/waits for space/, 'all that was decided had its room');
set_faults($faulty);
ok(wait_until(sub { ($node->psql('postgres', "INSERT INTO filling VALUES (-1, pg_read_binary_file('$file'))"))[0] == 0 }, 60),
	'it goes on when there is space');
is(sql("SELECT count(*), count(DISTINCT encode(sha256(body), 'hex')) FROM filling"), ($fitting + 1) . '|1', 'all are whole');
sql('DROP TABLE filling');

# Limits.
($status, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\nSET concord.max_write_set = '" . int($megabytes / 2) . "MB'; INSERT INTO t VALUES (31, 'limit', pg_read_binary_file('$file'))");
like($err, qr/ERROR:  54000: .*write set.*HINT: .*concord\.max_write_set/s, 'over concord.max_write_set: 54000');
sql("CREATE TABLE wide (a text, b text); ALTER TABLE wide ALTER a SET STORAGE EXTERNAL, ALTER b SET STORAGE EXTERNAL; INSERT INTO wide VALUES ('a', 'b')");
($status, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\nUPDATE wide SET a = repeat('a', 550000000), b = repeat('b', 550000000)");
# Later minor versions of PostgreSQL say so themselves; where the executor forms the tuple before it comes to us, by what palloc says.
like($err, qr/ERROR:  (54000: (tuple is too big|row of table "wide" is too big: size 1100000\d\d\d, maximum size 1073741800)|XX000: invalid memory alloc request size 11000000\d\d)/,
	'a row over the limit is refused');
is(sql('SELECT * FROM wide'), 'a|b', 'the row is as it was');

# After a restart, and as concordctl sees it.
$node->stop;
my $check = `concordctl check ${\$node->data_dir}/concord 2>&1`;
like($check, qr/all is well/, 'concordctl check');
$node->start;
ok(wait_ready($node), 'it is up again');
is(sql($contents), "2|changed|$size|$sha", 'after a restart');
unlike(slurp_file($node->logfile), qr/server process .* was terminated by signal|PANIC|level=critical/, 'nothing crashed');
$node->stop;
done_testing();
