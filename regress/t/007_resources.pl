# What is bounded: reader slots of the replica suffice for all sessions with many cursors each; drops are not lost when the
# server is stopped.
use strict;
use warnings;
use ConcordTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

my $node = new_cluster('main', "max_connections = 24\nmax_worker_processes = 4\nmax_wal_senders = 0\nautovacuum_max_workers = 1\n"
	  . "max_locks_per_transaction = 500\n");
$node->safe_psql('postgres', 'CREATE TABLE t (w int, n int, PRIMARY KEY (w, n)); INSERT INTO t VALUES (0, 0)');

# Every session opens cursors one after another while others commit, so each cursor reads a version of the replica of its own.
my $workers = start_workers($node, 't', 1);
my $cursors = 10;
my $script = "\\set ON_ERROR_STOP 1\nBEGIN;\n";
$script .= "DECLARE c$_ CURSOR FOR SELECT * FROM t; FETCH c$_; SELECT pg_sleep(0.1);\n" foreach 1 .. $cursors;
$script .= "SELECT pg_sleep(2);\n";
$script .= "FETCH c$_;\n" foreach 1 .. $cursors;
$script .= "COMMIT; SELECT 'finished';\n";
my @sessions;
push @sessions, start_session($node, "reader$_", $script) foreach 1 .. 18;
$_->{handle}->finish foreach @sessions;
stop_workers($workers);
is(join('', map { $_->{err} } @sessions), '', 'no session ran out of reader slots');
is(scalar(grep { $_->{out} =~ /finished/ } @sessions), 18, 'all sessions have read all of their cursors');

# A load takes its rowids in blocks that double, so it asks the adjudicator for a few of them only.
sub commits { return $node->safe_psql('postgres', 'SELECT commits FROM concord.status'); }
my $commits = commits();
$node->safe_psql('postgres', "CREATE TABLE loaded (a int); COPY loaded FROM PROGRAM 'seq 1 100000'");
cmp_ok(commits() - $commits, '<', 20, 'a load of 100 batches makes few commits of its own');

# Drops that wait when the server is stopped.
sub storages { return $node->safe_psql('postgres', 'SELECT storages + dropping FROM concord.status'); }
my $before = storages();
$node->safe_psql('postgres', "DO \$\$ BEGIN FOR i IN 1..400 LOOP
  EXECUTE format('CREATE TABLE d%s AS SELECT 1 AS a', i); END LOOP; END \$\$");
cmp_ok(storages(), '>=', $before + 400, '400 tables have rows');
$node->safe_psql('postgres', "DO \$\$ BEGIN FOR i IN 1..400 LOOP EXECUTE format('DROP TABLE d%s', i); END LOOP; END \$\$");
$node->stop('fast');
$node->start;
ok(wait_ready($node), 'the server is back');
ok(wait_until(sub { storages() <= $before + 2 }, 30), 'the storage of all of them is gone') or diag($before, ' ', storages());
$node->stop;
done_testing();
