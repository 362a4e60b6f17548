# The replica's file reaches concord.storage_limit: commits are refused with 53100 and a hint that names the setting, reads go on,
# and a dropped table makes room, as does a larger limit.
use strict;
use warnings;
use ConcordTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_cluster('main', "concord.storage_limit = '64MB'\nconcord.retention = 0\n");
$node->safe_psql('postgres', "CREATE TABLE t (a int, b bytea); CREATE TABLE small AS SELECT 1 AS a");

sub fill
{
	my $err = '';
	for my $i (1 .. 120)
	{
		$err = ($node->psql('postgres', "\\set VERBOSITY verbose\nINSERT INTO t SELECT $i, string_agg(sha512((g * $i)::text::bytea), '') "
				  . "FROM generate_series(1, 16000) g GROUP BY g % 1000"))[2];
		last if $err ne '';
	}
	return $err;
}

like(fill(), qr/53100: could not commit: .*concord\.storage_limit.*HINT:  Raise concord\.storage_limit/s, 'refused, and the setting named');
is($node->safe_psql('postgres', 'SELECT * FROM small'), '1', 'reads go on');
$node->safe_psql('postgres', 'DROP TABLE t');
ok(wait_ready($node), 'a dropped table makes room');
$node->safe_psql('postgres', 'CREATE TABLE t (a int, b bytea)');
like(fill(), qr/53100/, 'until it is full again');
$node->append_conf('postgresql.conf', "concord.storage_limit = '1GB'\n");
$node->restart;
is(($node->psql('postgres', 'INSERT INTO t VALUES (0)'))[2], '', 'a larger limit makes room');
unlike(slurp_file($node->logfile), qr/PANIC|terminated by signal/, 'nothing crashed');
$node->stop;
done_testing();
