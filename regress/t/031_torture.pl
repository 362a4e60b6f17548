# A short run of crashes under load (regress/torture); `make torture` runs longer ones. CONCORD_TORTURE_KILLS sets the kills.
use strict;
use warnings;
use ConcordTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_cluster('main');
my $bin = $node->config_data('--bindir');
my $kills = $ENV{CONCORD_TORTURE_KILLS} // 10;
my @command = ("$ENV{TESTDIR}/torture/torture", '--data', $node->data_dir, '--bin', $bin, '--log', $node->logfile,
	'--conninfo', $node->connstr('postgres'), '--kills', $kills);
my ($out, $err) = ('', '');
my $good = IPC::Run::run(\@command, '>', \$out, '2>', \$err, IPC::Run::timeout(800));
note($out);
ok($good, "$kills kills: nothing acknowledged was lost, nothing refused was there, order and indexes hold") or diag($out, $err);
my ($acknowledged) = $out =~ /.*, (\d+) acknowledged/s;
cmp_ok($acknowledged // 0, '>', 50, 'commits were acknowledged');
unlike(slurp_file($node->logfile), qr/was terminated by signal (?!9)|PANIC/, 'nothing crashed but what was killed');
# Its postmaster is not the one that the framework started.
system("$bin/pg_ctl", '-D', $node->data_dir, '-m', 'fast', '-w', '-s', 'stop') == 0 or die 'the server does not stop';
$node->_update_pid(0);
done_testing();
