# A directory that was killed, damaged, cut, taken away, exchanged or made by a newer version: the server starts, what can be mended
# is, and for the rest statements, the log and concordctl say what is wrong and where.
use strict;
use warnings;
use ConcordTest;
use File::Copy;
use File::Path qw(remove_tree);
use IPC::Run qw(run start);
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

my $node = new_cluster('main', "concord.read_timeout = '60s'\n");
my $dir = $node->data_dir . '/concord';
my $lib = $node->config_data('--pkglibdir');
$node->safe_psql('postgres', 'CREATE TABLE t (id int PRIMARY KEY, a text); CREATE INDEX ON t (a); CREATE TABLE h (a int) USING heap;');
$node->safe_psql('postgres', "INSERT INTO t SELECT i, repeat('x', i % 50) || i FROM generate_series(1, 3000) i");
$node->safe_psql('postgres', "UPDATE t SET a = a || 'y' WHERE id = $_") foreach (1 .. 40);
my $sum = sums();

sub sums { return $node->safe_psql('postgres', 'SELECT count(*), sum(length(a)), md5(string_agg(a, $$,$$ ORDER BY id)) FROM t'); }

sub ctl
{
	my ($out, $err) = ('', '');
	run([ $node->config_data('--bindir') . '/concordctl', @_ ], '>', \$out, '2>', \$err);
	return ($? >> 8, $out . $err);
}

# What a statement on a Concord table fails with.
sub failure
{
	my ($sql) = @_;
	my $err = '';
	$node->psql('postgres', $sql, stderr => \$err, extra_params => [ '-v', 'VERBOSITY=verbose' ], timeout => 120);
	return $err;
}

# Files of the directory with their contents, but for the lock.
sub fingerprint
{
	my ($out) = ('');
	run([ 'sh', '-c', "cd '$dir' && find . -type f | sort | xargs cksum" ], '>', \$out);
	return $out;
}

sub patch
{
	my ($file, $offset, $code) = @_;
	open(my $handle, '+<:raw', $file) or die "$file: $!";
	seek($handle, $offset, 0);
	read($handle, my $old, 4096);
	my $new = $code->($old);
	seek($handle, $offset, 0);
	print $handle $new;
	close $handle;
	return $old;
}

sub crc32c
{
	my $crc = 0xffffffff;
	foreach my $byte (unpack 'C*', $_[0])
	{
		$crc ^= $byte;
		$crc = $crc & 1 ? ($crc >> 1) ^ 0x82f63b78 : $crc >> 1 for 1 .. 8;
	}
	return sprintf '%08x', $crc ^ 0xffffffff;
}

# ---- running, and stopped in order and not ----

my ($code, $out) = ctl('status', $dir);
is($code, 0, 'status of a running directory') or diag $out;
like($out, qr/: running\n.*leads +yes.*lag ms +\d/s, 'it tells the roles');
($code, $out) = ctl('status', '--json', $dir);
my $json = decode_json($out);
is($json->{process}{pid}, sidecar_pid($node), 'the process');
like($json->{adjudicator}{committed_lsn}, qr{^[0-9A-F]+/[0-9A-F]+$}, 'the newest commit');
is($json->{replicas}[0]{replica}, 'storage', 'the lease of the replica');
my $reader = start_session($node, 'reader', 'BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM t; SELECT pg_sleep(100);');
ok(wait_until(sub { $json = decode_json((ctl('status', '--json', $dir))[1]); return $json->{readers}; }, 60), 'its readers are told');
like($json->{readers}[0]{lowest_read_lsn}, qr{^[0-9A-F]+/[0-9A-F]+$}, 'with what they read at');
$reader->{handle}->kill_kill;
($code, $out) = ctl('check', $dir);
is($code, 3, 'a directory in use is not checked');
like($out, qr/pid @{[sidecar_pid($node)]}\) uses/, 'and it says by whom');
my $pid = sidecar_pid($node);
kill 'STOP', $pid;
($code, $out) = ctl('status', $dir);
is($code, 1, 'status when concordd does not answer');
like($out, qr/problem: concordd does not answer/, 'and it says so');
kill 'CONT', $pid;

my $postmaster = (split /\n/, slurp_file($node->data_dir . '/postmaster.pid'))[0];
kill 'KILL', $pid, $postmaster;
ok(wait_until(sub { !kill(0, $pid) && !kill(0, $postmaster) }, 60), 'all were killed');
delete $node->{_pid};
unlink $node->data_dir . '/postmaster.pid';
my $before = fingerprint();
($code, $out) = ctl('status', $dir);
is($code, 3, 'status of a stopped directory') or diag $out;
like($out, qr/not stopped in order/, 'that was killed');
($code, $out) = ctl('check', $dir);
is($code, 0, 'after kill -9 all is well') or diag $out;
is(fingerprint(), $before, 'nothing was changed by looking');
ok(wait_until(sub { $node->start(fail_ok => 1) }, 60), 'started');
is(sums(), $sum, 'all rows are there');
$node->stop;
($code, $out) = ctl('check', '--json', $dir);
is($code, 0, 'after an orderly stop all is well') or diag $out;
$json = decode_json($out);
cmp_ok($json->{storage}{rows}, '>=', 3000, 'rows were checked');
cmp_ok($json->{storage}{entries}, '>=', 6000, 'and entries');
is((ctl('check', $node->data_dir))[0], 4, 'another directory is none');

# ---- damage ----

my $log = -s $node->logfile;
sub refused
{
	my ($name, $state, @texts) = @_;
	$node->start;
	my $err = failure('SELECT count(*) FROM t');
	like($err, qr/ERROR:  $state:/, "$name: SQLSTATE of statements");
	like($err, $_, "$name: statements tell") foreach @texts;
	like($err, qr/\nDETAIL:  [^\n]+\nHINT:  [^\n]*concordctl check/, "$name: and what to do");
	is($node->safe_psql('postgres', 'INSERT INTO h VALUES (1); SELECT sidecar FROM concord.status'), 'unavailable',
		"$name: heap tables can be used");
	my $said = slurp_file($node->logfile, $log);
	like($said, $_, "$name: the log tells") foreach @texts;
	$node->stop;
	$log = -s $node->logfile;
}

my $segment = (glob "$dir/journal/*.segment")[0];
my $offset = 4096 + int($json->{journal}{used_bytes} / 2);
my $saved = patch($segment, $offset, sub { my $bytes = shift; substr($bytes, 0, 1) = chr(ord($bytes) ^ 4); return $bytes; });
($code, $out) = ctl('check', $dir);
is($code, 1, 'a flipped byte of the journal is damage');
like($out, qr/problem: \Q$segment\E, offset \d+: /, 'told with file and offset') or diag $out;
refused('flipped byte in the journal', 'XX001', qr/\Q$segment\E, offset \d+/);
patch($segment, $offset, sub { $saved });

my $data = "$dir/storage/data.mdb";
patch($data, 4096 * $_, sub { scalar reverse $_[0] }) foreach (2 .. 30);
($code, $out) = ctl('check', $dir);
is($code, 1, 'reversed pages of LMDB are damage');
like($out, qr/problem: \Q$data\E, offset \d+: page/, 'told with file and offset');
$node->start;
is(sums(), $sum, 'a damaged replica is made anew from the journal');
like(slurp_file($node->logfile, $log), qr/storage is damaged and is made anew from the journal/, 'the log tells');
is(scalar(() = glob "$dir/storage.damaged-*"), 1, 'the damaged one is kept');
remove_tree(glob "$dir/storage.damaged-*");
$node->stop;
truncate($data, (-s $data) / 2);
$node->start;
is(sums(), $sum, 'so is one that was cut');
remove_tree(glob "$dir/storage.damaged-*");
$node->stop;
remove_tree("$dir/storage");
$node->start;
is(sums(), $sum, 'and one that is gone');
is($node->safe_psql('postgres', "SELECT count(*) FROM concord.check('t')"), '0', 'indexes agree with rows');
$node->stop;
$log = -s $node->logfile;

rename("$dir/journal", "$dir/journal.away");
refused('no journal', 'XX001', qr/journal has lost its segments/);
rename("$dir/journal.away", "$dir/journal");

# ---- not the directory ----

rename($dir, "$dir.away");
refused('no directory', '55000', qr/\Q$dir\E is missing/);
ok(!-e $dir, 'no new directory was made');

mkdir $dir, 0700;
refused('an empty directory', '55000', qr/has no file identity/);
rmdir $dir;

my $daemon = start([ "$lib/concordd", "--dir=$dir", '--log-level=warning' ]);
ok(wait_until(sub { -S "$dir/concordd.sock" }, 60), 'a directory of another cluster is made');
$daemon->signal('TERM');
$daemon->finish;
refused('a foreign directory', '55000', qr/belongs to cluster [0-9a-f]{32}\..* of cluster [0-9a-f]{32}/);

# Even a server that has forgotten its cluster does not take another one's rows, or none, for its own.
rename($node->data_dir . '/concord.cluster', $node->data_dir . '/cluster.away');
$node->start;
my $err = failure('SELECT count(*) FROM t');
like($err, qr/ERROR:  55000: relation "t(_pkey|_a_idx)?" belongs to another Concord cluster/, 'rows of another cluster');
$node->safe_psql('postgres', 'CREATE TABLE other (a int); INSERT INTO other VALUES (1)');
$node->stop;
$log = -s $node->logfile;
remove_tree($dir);
rename("$dir.away", $dir);
rename($node->data_dir . '/cluster.away', $node->data_dir . '/concord.cluster');

my $identity = slurp_file("$dir/identity");
(my $newer = $identity) =~ s/^concord directory 1\n(.*\n)crc .*\n$/concord directory 2\n$1/s;
open(my $file, '>', "$dir/identity") or die $!;
print $file $newer . 'crc ' . crc32c($newer) . "\n";
close $file;
is((ctl('check', $dir))[0], 4, 'a newer directory is not checked');
refused('a newer format', '55000', qr/has format 2, this program reads format 1/);
open($file, '>', "$dir/identity") or die $!;
print $file $identity;
close $file;

# ---- a journal that no longer has everything ----

$node->append_conf('postgresql.conf', "concord.embedded = off\n");
my $daemon_log = '';
$daemon = start([ "$lib/concordd", "--dir=$dir", '--segment-size=65536', '--journal-retention-ms=0' ], '2>', \$daemon_log);
$node->start;
is(sums(), $sum, 'with a concordd of its own');
$node->safe_psql('postgres', "CREATE TABLE big (a text); INSERT INTO big SELECT repeat(md5(i::text), 20) FROM generate_series(1, 40000) i");
ok(wait_until(sub {
	my ($status, $text) = ctl('status', '--json', $dir);
	return decode_json($text)->{journal}{base_lsn} ne '0/0';
}, 120), 'the journal is trimmed');
$node->stop;
$daemon->signal('TERM');
$daemon->finish;
is((ctl('check', $dir))[0], 0, 'all is well');
copy($data, "$data.good");
patch($data, 4096 * $_, sub { scalar reverse $_[0] }) foreach (2 .. 300);
$daemon_log = '';
run([ "$lib/concordd", "--dir=$dir" ], '2>', \$daemon_log);
is($? >> 8, 4, 'a damaged replica is then a refusal');
like($daemon_log, qr/\Q$data\E, offset \d+: page.*restore a backup/, 'that tells file, offset and what to do');
ok(-e $data && !glob("$dir/storage.damaged-*"), 'nothing was moved');
done_testing();
