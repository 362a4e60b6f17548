# A network that tests can cut: routes, each a process that hands on the bytes of connections, as a wire would, or does not. What is cut is
# silent, and not closed: nobody is told, bytes wait and come when it is healed, as behind a switch that has failed. A route knows which
# process has connected to its socket, so it can be cut for one of them only.
package ConcordNet;

use strict;
use warnings;
use IO::Select;
use IO::Socket::INET;
use IO::Socket::UNIX;
use PostgreSQL::Test::Utils;
use Socket qw(SOL_SOCKET SO_PEERCRED);
use Time::HiRes qw(sleep time);

my $buffer_bytes = 1 << 16;    # each way of a connection
my $tick = 0.01;               # how soon a change of the rules counts, in seconds

# `dir` is for the files of the rules.
sub new
{
	my ($class, $dir) = @_;
	mkdir $dir or die "$dir: $!";
	return bless { dir => $dir, pids => [], owner => $$ }, $class;
}

# From an address to another, each unix:/PATH or HOST:PORT, whether or not anybody listens there yet.
sub route
{
	my ($self, $name, $from, $to) = @_;
	my $listener = $from =~ /^unix:(.*)/
	  ? IO::Socket::UNIX->new(Local => $1, Listen => 64)
	  : IO::Socket::INET->new(LocalAddr => $from, Listen => 64, ReuseAddr => 1);
	die "$from: $!" if !$listener;
	$self->set($name, '');
	my $pid = fork() // die "fork: $!";
	if ($pid == 0)
	{
		local $SIG{PIPE} = 'IGNORE';
		eval { run($listener, $to, "$self->{dir}/$name"); };
		print STDERR "route $name: $@";
		require POSIX;
		POSIX::_exit(1);
	}
	push @{ $self->{pids} }, $pid;
}

# Rules: lines "cut *", "cut PID", "rate BYTES" (a second, of all connections).
sub set
{
	my ($self, $name, $rules) = @_;
	my $file = "$self->{dir}/$name";
	open(my $to, '>', "$file.new") or die "$file: $!";
	print $to $rules;
	close $to;
	rename("$file.new", $file) or die "$file: $!";
	sleep 3 * $tick;
}

sub cut { my ($self, $name, @pids) = @_; $self->set($name, join '', map { "cut $_\n" } @pids ? @pids : '*'); }
sub limit { my ($self, $name, $rate) = @_; $self->set($name, "rate $rate\n"); }
sub heal { my ($self, @names) = @_; $self->set($_, '') foreach @names; }

sub stop
{
	my ($self) = @_;
	return if $self->{owner} != $$;
	local $?;
	kill 'KILL', @{ $self->{pids} };
	waitpid($_, 0) foreach @{ $self->{pids} };
	$self->{pids} = [];
}

sub DESTROY { $_[0]->stop; }

sub dial
{
	my ($to) = @_;
	return $to =~ /^unix:(.*)/ ? IO::Socket::UNIX->new(Peer => $1) : IO::Socket::INET->new(PeerAddr => $to);
}

# The process of a route.
sub run
{
	my ($listener, $to, $file) = @_;
	$listener->blocking(0);
	my ($changed, %cut, $rate) = ('');
	my $room = 0;    # bytes that may go by the rate
	my $before = time;
	my @links;       # each { pid, ends: [client, server], waiting: [for client, for server], ended: [..] }
	while (getppid() != 1)
	{
		# A rename gives it another inode.
		my $now = join ' ', (stat $file)[ 1, 9 ];
		if ($now ne $changed)
		{
			$changed = $now;
			my $rules = slurp_file($file);
			%cut = map { $_ => 1 } $rules =~ /^cut (\S+)$/mg;
			($rate) = $rules =~ /^rate (\d+)$/m;
			$room = 0;
		}
		my $time = time;
		if (defined $rate)
		{
			$room += $rate * ($time - $before);
			$room = $rate if $room > $rate;
		}
		$before = $time;

		my ($in, $out) = (IO::Select->new($listener), IO::Select->new);
		my @open = grep { !$cut{'*'} && !$cut{ $_->{pid} } } @links;
		foreach my $link (@open)
		{
			$link->{ends}[1] //= dial($to);
			if (!$link->{ends}[1]) { $link->{gone} = 1; next; }
			$_->blocking(0) foreach @{ $link->{ends} };
			foreach my $end (0, 1)
			{
				$in->add($link->{ends}[$end]) if !$link->{ended}[$end] && length $link->{waiting}[ 1 - $end ] < $buffer_bytes;
				$out->add($link->{ends}[$end]) if $link->{waiting}[$end] ne '' && (!defined $rate || $room >= 1);
			}
		}
		my ($can_read, $can_write) = IO::Select->select($in, $out, undef, $tick);
		my %readable = map { fileno($_) => 1 } @{ $can_read // [] };
		my %writable = map { fileno($_) => 1 } @{ $can_write // [] };
		foreach my $link (grep { !$_->{gone} } @open)
		{
			foreach my $end (0, 1)
			{
				my $socket = $link->{ends}[$end];
				if ($writable{ fileno $socket } && $link->{waiting}[$end] ne '')
				{
					my $most = defined $rate ? int($room) : $buffer_bytes;
					my $written = $most > 0 ? syswrite($socket, $link->{waiting}[$end], $most) : 0;
					if (defined $written)
					{
						substr($link->{waiting}[$end], 0, $written) = '';
						$room -= $written;
					}
					elsif (!$!{EAGAIN}) { $link->{gone} = 1; }
				}
				if ($readable{ fileno $socket })
				{
					my $got = sysread($socket, $link->{waiting}[ 1 - $end ], $buffer_bytes, length $link->{waiting}[ 1 - $end ]);
					$link->{ended}[$end] = 1 if defined $got ? $got == 0 : !$!{EAGAIN};
				}
			}
			# The last bytes of who has ended are still to be handed on.
			$link->{gone} = 1 if grep { $link->{ended}[$_] && $link->{waiting}[ 1 - $_ ] eq '' } 0, 1;
		}
		@links = grep { !$_->{gone} } @links;
		if ($readable{ fileno $listener })
		{
			while (my $client = $listener->accept)
			{
				my ($pid) = $client->isa('IO::Socket::UNIX') ? unpack('i3', getsockopt($client, SOL_SOCKET, SO_PEERCRED)) : (0);
				push @links, { pid => $pid, ends => [ $client, undef ], waiting => [ '', '' ], ended => [ 0, 0 ] };
			}
		}
	}
}

1;
