# A Concord cluster of processes on this machine, for tests: one etcd, journal nodes j1, j2, ..., adjudicators a1, a2, ..., a storage
# replicas s1, ... (with `metrics`, a function of a member that gives a port, each with metrics there; with `tls` on loopback ports by TLS
# instead of sockets: those options of concordd; with `net` through a ConcordNet that can be cut: routes named as the members, and etcd-a1,
# ... from each adjudicator to etcd; with `machines` instead of numbers of each, so many of m1, m2, ..., all three in one process); each in a
# directory of its own, with its log in memory of the test. Everything is killed when the test ends.
package ConcordCluster;

use strict;
use warnings;
use ConcordNet;
use ConcordTest;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes ();

my @clusters;

sub new
{
	my ($class, %options) = @_;
	chomp(my $bin = `pg_config --pkglibdir`);
	my $self = bless { owner => $$, base => PostgreSQL::Test::Utils::tempdir_short(), bin => $bin, handles => {}, commands => {}, %options }, $class;
	my $etcd = '127.0.0.1:' . PostgreSQL::Test::Cluster::get_free_port();
	my $peer = 'http://127.0.0.1:' . PostgreSQL::Test::Cluster::get_free_port();
	$self->{etcd} = $etcd;
	push @clusters, $self;
	$self->{net} = ConcordNet->new("$self->{base}/net") if $self->{net};
	$self->{commands}{etcd} = [ 'etcd', '--data-dir', "$self->{base}/etcd", '--listen-client-urls', "http://$etcd",
		'--advertise-client-urls', "http://$etcd", '--listen-peer-urls', $peer, '--initial-advertise-peer-urls', $peer,
		'--initial-cluster', "default=$peer", '--unsafe-no-fsync' ];
	$self->start('etcd');
	ok(wait_until(sub { $self->log('etcd') =~ /ready to serve client requests/ }), 'etcd serves');

	my $id = join '', map { sprintf '%02x', int(rand(256)) } 1 .. 16;
	$self->{id} = $id;
	chomp($self->{ctl} = `pg_config --bindir`);
	$self->{metastore} = ["--metastore=etcd:$etcd"];
	return $self->start_machines(map { "m$_" } 1 .. $self->{machines}) if $self->{machines};
	my @journals = map { "j$_" } 1 .. $self->{journals};
	$self->start_journals(@journals);
	$self->init_members(@journals);
	my @adjudicators = map { "a$_" } 1 .. $self->{adjudicators};
	$self->command($_, 'adjudicator', "--join-cluster=$id", $self->metastore_of($_)) foreach @adjudicators;
	$self->start_all(@adjudicators);
	$self->start_storage(map { "s$_" } 1 .. ($self->{storages} //= 1));
	return $self;
}

sub init_members
{
	my ($self, @journals) = @_;
	my ($code, undef, $err) = $self->ctl('cluster', 'init', '--write-quorum', $self->{write_quorum}, '--journal', join(',', map { $self->member($_) } @journals));
	is($code, 0, 'the cluster is made') or diag($err);
}

# Each waits for the members, of which it is one.
sub start_machines
{
	my ($self, @machines) = @_;
	foreach my $machine (@machines)
	{
		$self->command($machine, 'adjudicator,journal,storage', "--join-cluster=$self->{id}", $self->metastore_of($machine));
		$self->start($machine);
	}
	ok(wait_until(sub { -s "$self->{base}/$_/node_id" }), "$_ has a name") foreach @machines;
	$self->init_members(@machines);
	ok(wait_until(sub { $self->log($_) =~ /ready address/ }), "$_ is ready") or diag($self->log($_)) foreach @machines;
	is(($self->ctl('storage', 'add', $self->member($_)))[0], 0, "its replica is one of the cluster's") foreach @machines;
	return $self;
}

# Which of them have a role: adjudicator, journal or storage.
sub members_with
{
	my ($self, $role) = @_;
	return map { "m$_" } 1 .. $self->{machines} if $self->{machines};
	return map { substr($role, 0, 1) . $_ } 1 .. $self->{"${role}s"};
}

sub start_storage
{
	my ($self, @replicas) = @_;
	$self->command($_, 'storage', "--join-cluster=$self->{id}", @{ $self->{metastore} }, @{ $self->{storage_options} // [] }) foreach @replicas;
	$self->start_all(@replicas);
}

sub start_journals
{
	my ($self, @journals) = @_;
	$self->command($_, 'journal', "--join-cluster=$self->{id}", @{ $self->{journal_options} // [] }) foreach @journals;
	$self->start_all(@journals);
}

# A journal node is known by the name that its directory has been given.
sub node_id { my ($self, $member) = @_; return (slurp_file("$self->{base}/$member/node_id") =~ /^id (\w+)$/m)[0]; }
sub member { my ($self, $member) = @_; return $self->node_id($member) . '=' . $self->address($member); }

sub start_all
{
	my ($self, @members) = @_;
	$self->start($_) foreach @members;
	foreach my $member (@members)
	{
		ok(wait_until(sub { $self->log($member) =~ /ready address/ }), "$member is ready") or diag($self->log($member));
	}
}

# As an adjudicator is told of it.
sub metastore_of
{
	my ($self, $member) = @_;
	return @{ $self->{metastore} } if !$self->{net};
	my $own = '127.0.0.1:' . PostgreSQL::Test::Cluster::get_free_port();
	$self->{net}->route("etcd-$member", $own, $self->{etcd});
	return "--metastore=etcd:$own";
}

sub socket { my ($self, $member) = @_; return "unix:$self->{base}/$member/concordd.sock"; }

# Where others reach it.
sub address
{
	my ($self, $member) = @_;
	return "unix:$self->{base}/net/$member.sock" if $self->{net};
	return $self->socket($member) if !$self->{tls};
	return $self->{addresses}{$member} //= '127.0.0.1:' . PostgreSQL::Test::Cluster::get_free_port();
}

sub command
{
	my ($self, $member, $role, @options) = @_;
	push @options, '--listen', $self->address($member), @{ $self->{tls} } if $self->{tls};
	if ($self->{net})
	{
		$self->{net}->route($member, $self->address($member), $self->socket($member));
		push @options, '--advertise', $self->address($member);
	}
	push @options, '--metrics-listen', '127.0.0.1:' . $self->{metrics}->($member) if $self->{metrics};
	$self->{commands}{$member} = [ "$self->{bin}/concordd", '--roles', $role, '--dir', "$self->{base}/$member", '--lock-wait-ms', '10000', @options ];
}

sub start
{
	my ($self, $member) = @_;
	# What an earlier process of it has said is not asked for any more.
	unlink "$self->{base}/$member.log";
	$self->{handles}{$member} = IPC::Run::start($self->{commands}{$member}, '<', \undef, '>>', "$self->{base}/$member.log", '2>&1');
}

sub log
{
	my ($self, $member) = @_;
	return -e "$self->{base}/$member.log" ? slurp_file("$self->{base}/$member.log") : '';
}

sub pid { my ($self, $member) = @_; return $self->{handles}{$member}{KIDS}[0]{PID}; }
sub memory_kb { my ($self, $member) = @_; return (slurp_file('/proc/' . $self->pid($member) . '/status') =~ /^VmRSS:\s+(\d+) kB/m)[0]; }
sub signal { my ($self, $member, $signal) = @_; $self->{handles}{$member}->signal($signal); }

sub kill
{
	my ($self, $member, $signal) = @_;
	my $handle = delete $self->{handles}{$member};
	$handle->signal($signal);
	# A failed process is what is wanted of KILL.
	eval { $handle->finish; 1 } or note($@);
}

# concordctl with the cluster's metastore: exit code, what it printed, what it complained of.
sub ctl
{
	my ($self, @command) = @_;
	my ($out, $err) = ('', '');
	IPC::Run::run([ "$self->{ctl}/concordctl", @command, @{ $self->{metastore} }, '--cluster', $self->{id} ],
		'<', \undef, '>', \$out, '2>', \$err, IPC::Run::timeout(60));
	return ($? >> 8, $out, $err);
}

# The adjudicator that has begun to lead last.
sub leader
{
	my ($self) = @_;
	my ($leader, $epoch) = (undef, 0);
	foreach my $member (grep { /^[am]/ } keys %{ $self->{handles} })
	{
		foreach my $led ($self->log($member) =~ /leading: decides commits epoch=(\d+)/g)
		{
			($leader, $epoch) = ($member, $led) if $led > $epoch;
		}
	}
	return $leader;
}

# Until the workers of a table commit again; they are to.
sub goes_on
{
	my ($self, $node, $table, $what) = @_;
	my $begin = Time::HiRes::time;
	my $count = sub { my ($n) = eval { $node->safe_psql('postgres', "SELECT count(*) FROM $table") }; $n // -1 };
	my $before = $count->();
	ok(wait_until(sub { $count->() > $before + 20 }, 60), "commits go on $what");
	note(sprintf('%s: %d ms', $what, (Time::HiRes::time - $begin) * 1000));
}

# What the workers were told is there, and what was refused is not. Ends them.
sub check_workers
{
	my ($self, $node, $table, $workers) = @_;
	my $acked = stop_workers($workers);
	my %there = map { $_ => 1 } split /\n/, $node->safe_psql('postgres', "SELECT worker || ' ' || n FROM $table");
	my @missing = grep { !$there{$_} } map { my $w = $_; map { "$w $_" } @{ $acked->{$w} } } sort keys %$acked;
	my @refused = grep { $there{$_} } map { my $w = $_; map { "$w $_" } @{ $workers->{refused}{$w} } } sort keys %$acked;
	cmp_ok(scalar(map { @$_ } values %$acked), '>=', 200, 'much was acknowledged');
	is("@missing", '', 'and all of it is there');
	is("@refused", '', '... and nothing that was refused');
}

# A server with the extension that uses the cluster. All replicas are on this machine; it reads the first through its files.
sub start_server
{
	my ($self, $name, $conf) = @_;
	my $addresses = join ',', map { $self->address($_) } $self->members_with('adjudicator');
	my @storages = $self->members_with('storage');
	my $storages = join ',', map { $self->address($_) } @storages;
	return new_cluster($name, "concord.embedded = off\nconcord.directory = '$self->{base}/$storages[0]'\nconcord.address = '$addresses'\n"
		  . "concord.storage_address = '$storages'\n" . ($conf // ''));
}

sub stop
{
	my ($self) = @_;
	foreach my $member ((grep { $_ ne 'etcd' } sort keys %{ $self->{handles} }), 'etcd')
	{
		$self->kill($member, 'TERM') if $self->{handles}{$member};
	}
}

# Also of a test that dies; not as destructors, which come in any order then.
END
{
	local $?;
	foreach my $cluster (grep { $_->{owner} == $$ } @clusters)
	{
		foreach my $handle (values %{ $cluster->{handles} })
		{
			eval { $handle->signal('CONT'); $handle->kill_kill(grace => 1); };
		}
		$cluster->{net}->stop if $cluster->{net};
	}
}

1;
