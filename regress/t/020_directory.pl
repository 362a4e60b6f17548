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

sub crc32c_bytes { return pack 'V', hex crc32c($_[0]); }

sub put_file
{
	my ($name, $bytes) = @_;
	open(my $handle, '>:raw', $name) or die "$name: $!";
	print $handle $bytes;
	close $handle;
}

# Puts a copy of a directory in place of it, or away.
sub copy_directory
{
	my ($from, $to) = @_;
	remove_tree($to);
	run([ 'cp', '-a', $from, $to ]) or die "cp $from $to";
}

# ---- running, and stopped in order and not ----

my ($code, $out) = ctl('status', $dir);
is($code, 0, 'status of a running directory') or diag $out;
like($out, qr/: running\n.*leads +yes.*lag ms +\d/s, 'it tells the roles');
($code, $out) = ctl('status', '--json', $dir);
my $json = decode_json($out);
is($json->{process}{pid}, sidecar_pid($node), 'the process');
like($json->{adjudicator}{committed_lsn}, qr{^[0-9A-F]+/[0-9A-F]+$}, 'the newest commit');
like($json->{replicas}[0]{replica}, qr/^storage-[0-9a-f]{32}$/, 'the lease of the replica');
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

my $leases = slurp_file("$dir/journal/leases");
put_file("$dir/journal/leases", substr($leases, 0, -1) . chr(ord(substr($leases, -1)) ^ 1));
($code, $out) = ctl('check', $dir);
is($code, 1, 'a damaged file of leases is damage');
like($out, qr{problem: \Q$dir\E/journal/leases, offset 0: checksum mismatch}, 'told with the file') or diag $out;
refused('damaged leases', 'XX001', qr{\Q$dir\E/journal/leases, offset 0: checksum mismatch});

# ---- newer formats ----

my $body = pack('V', 2) . substr($leases, 12);
put_file("$dir/journal/leases", substr($leases, 0, 4) . crc32c_bytes($body) . $body);
($code, $out) = ctl('check', $dir);
is($code, 4, 'leases of a newer version are not checked') or diag $out;
refused('leases of a newer version', '55000', qr{\Q$dir\E/journal/leases has version 2, this program reads 1});
put_file("$dir/journal/leases", $leases);

my $saved_meta = slurp_file("$dir/storage/meta.saved");
$body = substr($saved_meta, 0, 8) . pack('V', 3) . substr($saved_meta, 12, -4);
put_file("$dir/storage/meta.saved", $body . crc32c_bytes($body));
is((ctl('check', $dir))[0], 4, 'a newer meta.saved is not checked');
refused('a newer meta.saved', '55000', qr{\Q$dir\E/storage/meta\.saved has version 3, this program reads 2});
put_file("$dir/storage/meta.saved", $saved_meta);

$node->start;
my $file_of_t = $node->data_dir . '/' . $node->safe_psql('postgres', q(SELECT pg_relation_filepath('t')));
$node->stop;
my $page = patch($file_of_t, 28, sub { my $bytes = shift; substr($bytes, 0, 4) = pack('V', 3); return $bytes; });
$node->start;
like(failure('SELECT count(*) FROM t'), qr/ERROR:  0A000: relation "t" has metapage version 3, this extension reads version 2/,
	'a newer metapage is refused');
like(failure('SELECT concord.sweep()'), qr/ERROR:  XX001: relation "t" of database "postgres" has no Concord metapage that could be read/,
	'and keeps the sweep from taking its rows');
$node->stop;
patch($file_of_t, 28, sub { $page });
$node->start;
is(sums(), $sum, 'all rows are there');
$node->stop;
$log = -s $node->logfile;

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

copy_directory("$dir/storage", "$dir.storage");
copy_directory("$dir/journal", "$dir.journal");
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

# Storage and journal of two moments.
$node->append_conf('postgresql.conf', "concord.embedded = on\n");
$log = -s $node->logfile;
my $lsn = qr{[0-9A-F]+/[0-9A-F]+};
sub concordd
{
	my (@command) = @_;
	$daemon_log = '';
	run([ @command ? @command : "$lib/concordd", "--dir=$dir", '--check-bytes=0' ], '2>', \$daemon_log);
	return $?;
}
sub two_moments
{
	my ($name, $part, $problem, $text) = @_;
	copy_directory("$dir/$part", "$dir.$part.newer");
	copy_directory("$dir.$part", "$dir/$part");
	my ($status, $told) = ctl('check', $dir);
	is($status, 1, "$name: a problem for concordctl");
	like($told, $problem, "$name: it tells") or diag $told;
	is(concordd() >> 8, 4, "$name: concordd does not start");
	like($daemon_log, qr/level=critical .*$text/, "$name: its log");
	refused($name, 'XX001', $text);
	copy_directory("$dir.$part.newer", "$dir/$part");
}
two_moments('an older storage', 'storage',
	qr/problem: the replica goes on after $lsn, and the journal has trimmed what follows: it begins after $lsn/,
	qr{\Q$dir\E/storage is missing or too old: it has applied $lsn, and the journal begins after $lsn\. Restore a backup});
two_moments('an older journal', 'journal',
	qr{problem: \Q$dir\E/journal ends at $lsn, before what the replica has applied, $lsn: its end is damaged or missing},
	qr{\Q$dir\E/journal has lost its end: its last record is $lsn, and storage has applied $lsn\. Restore a backup});
$node->start;
is(sums(), $sum, 'with both of one moment all rows are there');
$node->stop;

# A leaf page of rows is not looked at when the replica is larger than --check-bytes, but for the mark of a concordd that has crashed.
# The page is one that is in use.
my ($leaf, $before_leaf);
my $pages = slurp_file($data);
for (my $at = 3 * 4096; $at < length($pages); $at += 4096)
{
	next unless unpack('v', substr($pages, $at + 10, 2)) == 2 && substr($pages, $at, 4096) =~ /x{40}/;
	$before_leaf = patch($data, $at, sub { my $bytes = shift; substr($bytes, 12, 4) = "\xff\xff\xff\xff"; return $bytes; });
	($code, $out) = ctl('check', $dir);
	if ($code == 1) { $leaf = $at; last; }
	patch($data, $at, sub { $before_leaf });
}
ok(defined $leaf, 'a leaf is damaged');
copy_directory("$dir/storage", "$dir.storage");
# Nothing is removed meanwhile: the sweep might come upon the leaf. It looks at everything once, though, and then it serves for a moment only.
$daemon = start([ "$lib/concordd", "--dir=$dir", '--check-bytes=0', '--retention-ms=86400000' ], '2>', \$daemon_log);
my $serves = wait_until(sub { $daemon->pump_nb if $daemon->pumpable; -S "$dir/concordd.sock" || $daemon_log =~ /stopping reason/ }, 60)
  && (-S "$dir/concordd.sock" || $daemon_log =~ /ready address/);
eval { $daemon->signal('SEGV') };
$daemon->finish;
ok($serves, 'it is not noticed at the top') or diag $daemon_log;
ok(-e "$dir/storage/check", 'a crash leaves a mark');
is(concordd() >> 8, 4, 'then all pages are checked');
like($daemon_log, qr/level=critical .*\Q$data\E, offset $leaf: page/, 'and the leaf is noticed') or diag $daemon_log;

# So does a crash before the replica is open: LMDB reads the first pages there.
copy_directory("$dir.storage", "$dir/storage");
my $faulty = faulty_sidecar();
set_faults($faulty, 'write /storage/meta.saved SEGV');
my ($wrapper) = $faulty->{conf} =~ /'(.*)'/;
is(concordd($wrapper) & 127, 11, 'concordd crashes while it opens the replica');
ok(-e "$dir/storage/check", 'that leaves the mark too');
is(concordd() >> 8, 4, 'and all pages are checked');
patch($data, $leaf, sub { $before_leaf });
is((ctl('check', $dir))[0], 0, 'all is well');

copy($data, "$data.good");
patch($data, 4096 * $_, sub { scalar reverse $_[0] }) foreach (2 .. 300);
$daemon_log = '';
run([ "$lib/concordd", "--dir=$dir" ], '2>', \$daemon_log);
is($? >> 8, 4, 'a damaged replica is then a refusal');
like($daemon_log, qr/\Q$data\E, offset \d+: page.*restore a backup/, 'that tells file, offset and what to do');
ok(-e $data && !glob("$dir/storage.damaged-*"), 'nothing was moved');
done_testing();
