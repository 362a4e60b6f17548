# The gateway connects to a socket only where nobody but the server's user and root can have put it. It says so, and goes on trying.
use strict;
use warnings;
use ConcordTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_cluster('main');
$node->safe_psql('postgres', 'CREATE TABLE t (a int PRIMARY KEY); INSERT INTO t VALUES (1)');
$node->stop;

sub told { return scalar(() = slurp_file($node->logfile) =~ /WARNING:  concord gateway: does not connect to the sidecar at "unix:[^"]*": directory \S+ may be written by others/g); }
sub failure
{
	my $err = '';
	$node->psql('postgres', "SET concord.commit_timeout = '1s'; INSERT INTO t VALUES (2)", stderr => \$err, extra_params => [ '-v', 'VERBOSITY=verbose' ]);
	return $err;
}

# A directory of its own, which its owner has left open.
my $dir = PostgreSQL::Test::Utils::tempdir_short();
chmod 0755, $dir;
$node->append_conf('postgresql.conf', "concord.address = 'unix:$dir/s.sock'\n");
$node->start;
is($node->safe_psql('postgres', 'SELECT * FROM t'), '1', 'a socket elsewhere');
is(told(), 0, 'that nobody else can replace');
chmod 0777, $dir;
my $sidecar = sidecar_pid($node);
$node->safe_psql('postgres', "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'concord gateway'");
ok(wait_until(sub { told() > 0 }), 'a directory that others may write: the log says so');
like(failure(), qr/ERROR:  08006: /, 'commits are not sent there');
is(sidecar_pid($node), $sidecar, 'where somebody does listen');
is(told(), 1, 'said once');
chmod 0755, $dir;
ok(wait_ready($node), 'connected when the directory is safe');
is($node->safe_psql('postgres', 'SELECT * FROM t'), '1', 'rows are read');
$node->stop;
done_testing();
