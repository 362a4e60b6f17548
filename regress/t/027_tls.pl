# A cluster whose parts speak TLS with each other: it works, fails over and gets new certificates; who has none of its CA is kept out, and
# nothing but loopback is left without.
use strict;
use warnings;
use ConcordCluster;
use ConcordTest;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

chomp(my $daemon = `pg_config --pkglibdir`);
$daemon .= '/concordd';
my $certs = PostgreSQL::Test::Utils::tempdir_short();

sub run_program
{
	my ($out, $err) = ('', '');
	IPC::Run::run([@_], '<', \undef, '>', \$out, '2>', \$err, IPC::Run::timeout(120));
	return ($? >> 8, $out, $err);
}

sub openssl
{
	my ($code, undef, $err) = run_program('openssl', @_);
	die "openssl @_: $err" if $code != 0;
}

my @new_key = ('-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes');

sub make_ca
{
	my ($name) = @_;
	openssl('req', '-x509', '-days', 2, @new_key, '-subj', "/CN=$name", '-keyout', "$certs/$name.key", '-out', "$certs/$name.crt");
}

# A certificate and its key; it is over with -1 days.
sub make
{
	my ($name, $ca, $days) = @_;
	openssl('req', @new_key, '-subj', "/CN=$name", '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', "$certs/$name.key", '-out', "$certs/$name.csr");
	openssl('x509', '-req', '-copy_extensions', 'copy', '-days', $days // 2, '-in', "$certs/$name.csr", '-CA', "$certs/$ca.crt", '-CAkey',
		"$certs/$ca.key", '-out', "$certs/$name.crt");
	chmod 0600, "$certs/$name.key";
}

# The options of concordd and concordctl for a certificate.
sub tls
{
	my ($name, $ca) = @_;
	return ('--tls-ca', "$certs/" . ($ca // 'ca') . '.crt', '--tls-cert', "$certs/$name.crt", '--tls-key', "$certs/$name.key");
}

make_ca($_) foreach 'ca', 'foreign';
make($_, 'ca') foreach 'node', 'server', 'admin', 'fresh';
make('stranger', 'foreign');
make('expired', 'ca', -1);

# What is of no use is told at the start.
my @none = ($daemon, '--dir', "$certs/none");
foreach my $case (
	[ 'a certificate that is over', qr/certificate file \S+expired\.crt is not valid by the CA file .*: certificate has expired/, tls('expired') ],
	[ 'a certificate of another CA', qr/certificate file \S+stranger\.crt is not valid by the CA file/, tls('stranger') ],
	[ 'a file that is not there', qr/the certificate file \S+nobody\.crt cannot be read: No such file/, tls('nobody') ],
	[ 'a key alone', qr/a CA file, a certificate file and a key file go together/, '--tls-key', "$certs/node.key" ],
	[ 'no TLS, and all addresses', qr/0\.0\.0\.0:1 is neither unix:\/path nor loopback, and without TLS no other/, '--listen', '0.0.0.0:1' ],
	[ 'no TLS, and a name', qr/db1\.example\.org:1 is neither unix:\/path nor loopback, and without TLS/, '--listen', 'db1.example.org:1' ],
	[ 'no TLS, and a journal elsewhere', qr/--journal-address: address 10\.0\.0\.1:1 .* without TLS no other is connected to/,
		'--roles=storage', '--journal-address', '10.0.0.1:1' ])
{
	my ($name, $message, @options) = @$case;
	my ($code, undef, $err) = run_program(@none, @options);
	is($code, 2, $name);
	like($err, $message, '... is told so');
}
chmod 0640, "$certs/fresh.key";
my ($code, $out, $err) = run_program(@none, tls('fresh'));
is($code, 2, 'a key that others can read');
like($err, qr/the key file \S+fresh\.key can be reached by others/, '... is told so');
chmod 0600, "$certs/fresh.key";
ok(!-e "$certs/none", 'and nothing has been made');

# A cluster.
my $cluster = ConcordCluster->new(journals => 3, write_quorum => 2, adjudicators => 2, tls => [ tls('node') ]);
my $tls_conf = "concord.tls_ca = '$certs/ca.crt'\nconcord.tls_cert = '$certs/server.crt'\nconcord.tls_key = '$certs/server.key'\n";
my $node = $cluster->start_server('main', $tls_conf);
ok(wait_ready($node), 'the server is ready');
$node->safe_psql('postgres', 'CREATE TABLE t (n int PRIMARY KEY); INSERT INTO t VALUES (1)');
is($node->safe_psql('postgres', 'SELECT n FROM t'), '1', 'rows are written and read');
ok( wait_until(sub { ($code, $out, $err) = $cluster->ctl('cluster', 'status', tls('admin')); $code == 0 }, 60),
	'concordctl finds all well')
  or diag($out . $err);

# Who is kept out: by each part that listens, with a reason in its log.
sub connect_to
{
	my ($member, @options) = @_;
	return run_program('openssl', 's_client', '-connect', $cluster->address($member), '-CAfile', "$certs/ca.crt", '-alpn', 'h2', @options);
}
sub logs { my ($member, $reason, $name) = @_; ok(wait_until(sub { $cluster->log($member) =~ $reason }, 60), $name) or diag($cluster->log($member)); }
foreach my $member ('j1', 'a1', 's1')
{
	connect_to($member);
	logs($member, qr/level=warning .*no connection by TLS reason="the other side shows no certificate/, "$member refuses a client without certificate");
}
connect_to('j2', '-cert', "$certs/stranger.crt", '-key', "$certs/stranger.key");
my $unknown = qr/no connection by TLS reason="the other side's certificate is not of this CA, or its time is over/;
logs('j2', $unknown, 'a certificate of another CA is refused');
connect_to('j3', '-cert', "$certs/expired.crt", '-key', "$certs/expired.key");
logs('j3', $unknown, 'one that is over is refused');
($code, $out) = $cluster->ctl('cluster', 'status');
is($code, 1, 'concordctl without TLS gets nothing');
like($out, qr/the journal node at \Q@{[ $cluster->address('j1') ]}\E does not answer: /, '... and says so');
logs('j1', qr/no connection by TLS reason="the other side does not speak TLS/, '... and the node says why');
($code, $out) = $cluster->ctl('cluster', 'status', tls('stranger', 'foreign'));
is($code, 1, 'concordctl with another CA gets nothing');
like($out, qr/does not answer: .*certificate verify failed/, '... as it does not believe the nodes');
($code, undef, $err) = $cluster->ctl('cluster', 'status', tls('expired'));
is($code, 2, 'concordctl with a certificate that is over');
like($err, qr/^concordctl: TLS: the certificate file \S+expired\.crt is not valid .*: certificate has expired/, '... is told so');

# Servers.
my $lost = PostgreSQL::Test::Cluster->new('lost');
$lost->init;
my $preload = "shared_preload_libraries = 'concord'\nconcord.embedded = off\n";
foreach my $case (
	[ "concord.address = '10.0.0.1:5601'\n", qr/concord\.address names another machine, "10\.0\.0\.1:5601", but TLS is not set up/ ],
	[ "concord.tls_ca = '$certs/ca.crt'\n", qr/concord\.tls_ca, concord\.tls_cert and concord\.tls_key go together/ ])
{
	my ($conf, $message) = @$case;
	unlink $lost->logfile;
	$lost->append_conf('postgresql.conf', $preload . $conf);
	ok(!$lost->start(fail_ok => 1), 'a server does not start') and like(slurp_file($lost->logfile), $message, '... and says why');
}
$lost->append_conf('postgresql.conf', $tls_conf . "concord.address = '" . $cluster->address('a1') . "'\nconcord.tls_cert = '$certs/expired.crt'\n"
	  . "concord.tls_key = '$certs/expired.key'\nconcord.read_timeout = '2s'\n");
$lost->start;
ok(wait_until(sub { slurp_file($lost->logfile) =~ qr/the concord gateway cannot use the TLS files: TLS: the certificate file \S+ is not valid .* has expired/ }),
	'a server with a certificate that is over says so');
my (undef, undef, $stderr) = $lost->psql('postgres', 'CREATE EXTENSION concord; CREATE TABLE t (n int) USING concord; INSERT INTO t VALUES (1)');
like($stderr, qr/Concord's sidecar is not available/, '... and so do its Concord tables');
$lost->stop;

# A server's own sidecar, on a port.
my $own = new_cluster('own', $tls_conf . "concord.address = '127.0.0.1:" . PostgreSQL::Test::Cluster::get_free_port() . "'\n");
$own->safe_psql('postgres', 'CREATE TABLE t (n int); INSERT INTO t VALUES (1)');
($code, $out, $err) = run_program("$cluster->{ctl}/concordctl", 'status', $own->data_dir . '/concord');
is($code, 1, 'the sidecar of a server speaks TLS too: concordctl needs a certificate');
($code, $out, $err) = run_program("$cluster->{ctl}/concordctl", 'status', tls('admin'), $own->data_dir . '/concord');
is($code, 0, '... and is answered with one') or diag($out . $err);
$own->stop;

# New certificates, of a CA that follows: first both are believed, then the new ones are shown.
make_ca('next');
sub append { my ($from, $to) = @_; append_to_file("$certs/$to", slurp_file("$certs/$from")); }
sub changed { my ($count, $name) = @_; foreach my $member (qw(j1 j2 j3 a1 a2 s1)) {
	ok(wait_until(sub { my @told = $cluster->log($member) =~ /the TLS files have changed and count/g; @told >= $count }, 60), "$member $name"); } }
append('next.crt', 'ca.crt');
changed(1, 'believes the next CA');
append_to_file("$certs/node.key", "nonsense\n");
rename("$certs/node.key", "$certs/node.key.old");
logs('a1', qr/level=error .*the TLS files do not count, those before them do reason="TLS: the key file \S+ cannot be read/, 'a mistake is told');
make('next_node', 'next');
rename("$certs/next_node.$_", "$certs/node.$_") foreach 'crt', 'key';
changed(2, 'shows its new certificate');
make('next_server', 'next');
rename("$certs/next_server.$_", "$certs/server.$_") foreach 'key', 'crt';
ok(wait_until(sub { slurp_file($node->logfile) =~ /concord gateway: the TLS files have changed and count for new connections/ }, 60), 'the server too');

# All connections anew, with these: the leader's successor makes its own, and the server to it.
my $leader = $cluster->leader;
$cluster->kill($leader, 'KILL');
$node->safe_psql('postgres', 'INSERT INTO t VALUES (2)');
isnt($cluster->leader, $leader, 'a standby leads');
is($node->safe_psql('postgres', 'SELECT array_agg(n ORDER BY n) FROM t'), '{1,2}', 'all is there');
# gRPC finds what has been told to count when it looks the next time.
ok(wait_until(sub {
	(undef, $out) = connect_to($cluster->leader, '-cert', "$certs/admin.crt", '-key', "$certs/admin.key");
	return $out =~ /issuer=CN = next/; }), 'the new leader shows the new certificate') or diag($out);
$node->stop;
$cluster->stop;
done_testing();
