# What the TAP tests share: a cluster with Concord tables, its sidecar's process, and workers that remember what was
# acknowledged to them.
package ConcordTest;

use strict;
use warnings;
use Exporter 'import';
use File::Basename;
use IPC::Run;
use IPC::Open2;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Time::HiRes qw(sleep time);

our @EXPORT = qw(new_cluster sidecar_pid wait_until wait_ready start_session start_workers stop_workers
  faulty_sidecar set_faults fault_hits remote_reads);

# A started cluster with the extension in database postgres, Concord being the default access method.
sub new_cluster
{
	my ($name, $conf) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	$node->init;
	$node->append_conf('postgresql.conf', "shared_preload_libraries = 'concord'\n"
		  . "default_table_access_method = 'concord'\n" . "restart_after_crash = on\n" . ($conf // ''));
	$node->start;
	$node->safe_psql('postgres', 'CREATE EXTENSION concord');
	return $node;
}

# A wrapper of concordd whose file operations fail on demand (regress/fault/fault_shim.c); `conf` is the line of configuration
# that makes a server use it. Options given here are added, and take the place of those that the launcher gives. `env` makes other programs
# fail in the same way.
sub faulty_sidecar
{
	my (%options) = @_;
	my $dir = PostgreSQL::Test::Utils::tempdir();
	my $source = dirname(__FILE__) . '/../fault/fault_shim.c';
	system('cc', '-O1', '-shared', '-fPIC', '-o', "$dir/fault_shim.so", $source) == 0 or die 'cannot compile fault_shim.c';
	chomp(my $concordd = `pg_config --pkglibdir`);
	my $drop = join('', map { "    $_=*) continue ;;\n" } sort keys %options);
	my $own = join(' ', map { "'$_=$options{$_}'" } sort keys %options);
	append_to_file("$dir/concordd", <<"EOT");
#!/bin/sh
for option; do
  shift
  case \$option in
$drop    *) ;;
  esac
  set -- "\$@" "\$option"
done
export LD_PRELOAD=$dir/fault_shim.so CONCORD_FAULTS=$dir/faults
exec $concordd/concordd "\$@" $own
EOT
	chmod 0755, "$dir/concordd";
	return {
		control => "$dir/faults",
		conf => "concord.daemon_path = '$dir/concordd'\n",
		env => { LD_PRELOAD => "$dir/fault_shim.so", CONCORD_FAULTS => "$dir/faults" } };
}

# Replaces the rules; none: nothing fails any more.
sub set_faults
{
	my ($faulty, @rules) = @_;
	open(my $file, '>', "$faulty->{control}.new") or die $!;
	print $file map { "$_\n" } @rules;
	close $file;
	rename("$faulty->{control}.new", $faulty->{control}) or die $!;
}

# How often an operation on a path has failed since the server was started.
sub fault_hits
{
	my ($faulty, $pattern) = @_;
	return 0 unless -e "$faulty->{control}.hits";
	return scalar grep { $_ =~ $pattern } split /\n/, slurp_file("$faulty->{control}.hits");
}

# The process id of the concordd that serves a cluster; undef if there is none.
sub sidecar_pid
{
	my ($node) = @_;
	my $dir = $node->data_dir . '/concord';
	foreach my $entry (glob '/proc/[0-9]*/cmdline')
	{
		open(my $file, '<', $entry) or next;
		local $/;
		my $line = <$file> // next;
		my @args = split /\0/, $line;
		next unless @args && $args[0] =~ m{concordd$} && grep { index($_, $dir) >= 0 } @args;
		return $1 if $entry =~ m{/proc/(\d+)/};
	}
	return undef;
}

# How many reads of the server have gone through the gateway.
sub remote_reads
{
	my ($node) = @_;
	return $node->safe_psql('postgres', 'SELECT reads FROM concord.stat_reads');
}

# Polls until the code returns true; false after the time-out.
sub wait_until
{
	my ($code, $seconds) = @_;
	my $end = time + ($seconds // 60);
	while (time < $end)
	{
		return 1 if $code->();
		sleep 0.05;
	}
	return 0;
}

# Waits until the cluster commits Concord transactions (again).
sub wait_ready
{
	my ($node) = @_;
	return wait_until(
		sub {
			# A psql that ends before it is told what to do is one more that could not connect.
			my ($status) = eval { $node->psql('postgres', 'CREATE TABLE IF NOT EXISTS ready (a int); INSERT INTO ready VALUES (1)',
				timeout => 60) };
			return defined $status && $status == 0;
		}, 90);
}

# Starts psql on a script, without waiting for it: finish $session->{handle}, look at $session->{out} and {err}. The session
# is found in pg_stat_activity by its application_name.
sub start_session
{
	my ($node, $name, $sql) = @_;
	my $session = { out => '', err => '' };
	my $file = PostgreSQL::Test::Utils::tempdir() . "/$name.sql";
	append_to_file($file, "\\set VERBOSITY verbose\n$sql\n");
	$session->{handle} = IPC::Run::start([ 'psql', '-X', '-At', '-d', $node->connstr('postgres') . " application_name=$name", '-f', $file ],
		'<', \undef, '>', \$session->{out}, '2>', \$session->{err}, IPC::Run::timeout(120));
	return $session;
}

# Starts worker processes that insert (worker, n), n = 1, 2, …, each in a transaction of its own, through one psql, and write
# n to a file when it is acknowledged, and to another one when it got an error that says that nothing of it was committed. Connections
# that break are made again.
sub start_workers
{
	my ($node, $table, $count) = @_;
	my $dir = PostgreSQL::Test::Utils::tempdir();
	my %workers;
	my $owner = $$;    # a test that dies does not stop them
	foreach my $worker (1 .. $count)
	{
		my $pid = fork() // die "fork: $!";
		if ($pid == 0)
		{
			my $stop = 0;
			local $SIG{TERM} = sub { $stop = 1; };
			local $SIG{PIPE} = 'IGNORE';
			open(my $log, '>', "$dir/acked.$worker") or die $!;
			open(my $refused, '>', "$dir/refused.$worker") or die $!;
			$_->autoflush(1) foreach $log, $refused;
			my ($out, $in, $psql);
			my $n = 0;
			while (!$stop && getppid() == $owner)
			{
				if (!$psql)
				{
					my $command = 'exec psql -X -q -At -d "' . $node->connstr('postgres') . '" 2>&1';
					$psql = open2($out, $in, 'sh', '-c', $command);
				}
				$n++;
				my $acked = 0;
				my $alive = print $in "INSERT INTO $table VALUES ($worker, $n);\n\\echo :ERROR :SQLSTATE $n\n";
				$in->flush;
				while ($alive && defined(my $line = <$out>))
				{
					if ($line =~ /^(true|false) (\S*) $n$/)
					{
						$acked = $1 eq 'false';
						print $refused "$n\n" if !$acked && $2 =~ /^(58030|53100|40001|08006)$/;
						last;
					}
					if (eof($out)) { $alive = 0; }
				}
				print $log "$n\n" if $acked;
				if (!$acked)
				{
					close $in; close $out; waitpid($psql, 0); undef $psql;
					sleep 0.1;
				}
			}
			close $in if $in;
			waitpid($psql, 0) if $psql;
			require POSIX;
			POSIX::_exit(0);
		}
		$workers{$worker} = $pid;
	}
	return { pids => \%workers, dir => $dir };
}

# Stops the workers; returns a hash worker -> list of acknowledged n, and leaves one of the refused in $workers->{refused}.
sub stop_workers
{
	my ($workers) = @_;
	my %acked;
	kill 'TERM', values %{ $workers->{pids} };
	foreach my $worker (keys %{ $workers->{pids} })
	{
		waitpid($workers->{pids}{$worker}, 0);
		foreach my $list ([ acked => \%acked ], [ refused => $workers->{refused} //= {} ])
		{
			open(my $file, '<', "$workers->{dir}/$list->[0].$worker") or die $!;
			chomp(my @lines = <$file>);
			$list->[1]{$worker} = \@lines;
		}
	}
	return \%acked;
}

1;
