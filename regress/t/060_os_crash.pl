# The operating system crashes, again and again, with a concordd of its own and no server: at random moments, in recovery,
# during checkpoints. What was not synced is lost, kept or torn at random (docs/failures/os_crash.md).
use strict;
use warnings;
use PostgreSQL::Test::Utils;
use Test::More;

my $bin = $ENV{CONCORD_TEST_BIN};
my $seeds = $ENV{CONCORD_CRASH_SEEDS} // 4;
my ($lib) = run_command([ 'pg_config', '--pkglibdir' ]);

sub crashes
{
	my ($count, @options) = @_;
	my $work = PostgreSQL::Test::Utils::tempdir('crash');
	my ($out, $err) = run_command([ "$bin/os_crash", 'run', '--concordd', "$lib/concordd", '--recorder', "$bin/crash_recorder.so",
		'--work', $work, '--seeds', $count, @options ]);
	return $out . $err;
}

my $out = crashes($seeds);
like($out, qr/^ok: $seeds seeds/, 'every acknowledged commit is there after each crash, nothing is there by half') or diag($out);
note($out);
# A run in which nothing of what it is for happened proves nothing.
my ($in_recovery, $acknowledged, $went_back) = $out =~ /, (\d+) of them in recovery, (\d+) acknowledged commits, went back to a checkpoint (\d+)/;
cmp_ok($in_recovery // 0, '>', 0, 'some crashes were in recovery');
cmp_ok($acknowledged // 0, '>', 0, 'commits were acknowledged before a crash');
cmp_ok($went_back // 0, '>', 0, 'the replica went back to its checkpoint');

# The test itself: a disk that lies about syncs must be noticed.
like(crashes(40, '--lie-files', 'journal/'), qr/^FAILED/, 'lost syncs of the journal are noticed');
like(crashes(40, '--lie-files', 'storage/data.mdb'), qr/^FAILED/, 'lost syncs of the storage are noticed');
like(crashes(40, '--lie-directories', 'journal'), qr/^FAILED/, "lost syncs of the journal's directory are noticed");
done_testing();
