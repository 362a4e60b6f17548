#!/usr/bin/perl
# documented_errors.pl: every message that the extension can raise (errmsg, elog(ERROR)) must stand in docs/errors.md, with "..." for
# what is filled in; and every line that gateway and sidecar log, but for those of level debug, in the table "Logs" of
# docs/operations.md, where "..." and the end of a text stand for anything. Prints those that do not; exit status 1 if there are any.
use strict;
use warnings;

my $string = qr/"((?:[^"\\]|\\.)*)"/;
my $missing = 0;
my %seen;

sub contents
{
	my ($path) = @_;
	open(my $file, '<', $path) or die "$path: $!";
	return join('', <$file>);
}

my $documented = contents('docs/errors.md');
foreach my $path (glob('extension/*.c extension/*/*.c'))
{
	my $text = contents($path);
	while ($text =~ /\b(?:errmsg|errmsg_plural|elog\s*\(\s*(?:ERROR|FATAL)\s*,)\s*\(?\s*((?:$string\s*)+)/g)
	{
		my $literals = $1;
		my $message = join('', $literals =~ /$string/g);
		$message =~ s/\\"/"/g;
		$message =~ s/%[-0-9.*]*(?:ll|l|z)?[a-zA-Z]/.../g;
		$message =~ s/\.\.\.\/\.\.\./.../g;
		next if $message eq '...' || $seen{$message}++;
		next if index($documented, $message) >= 0;
		print "$path: not in docs/errors.md: $message\n";
		$missing++;
	}
}
die "no messages found\n" if !%seen;

# What the first column of the table quotes, as patterns.
my ($logs) = contents('docs/operations.md') =~ /^### Logs\n(.*?)^##/ms or die "docs/operations.md has no \"### Logs\"\n";
my @patterns = map { join('.*', map { quotemeta } split /\s*\.\.\.\s*/, $_) } map { /`([^`]+)`/g } map { (split /(?<!\\)\|/)[1] // () } grep { /^\|/ } split /\n/, $logs;
my $call = qr/(?:\blog_?|RoleLog\([^()]*\))\s*->\s*(?:info|warn|error|critical)\(|(\blog_\.Add)\(\s*CC_LOG_(?:INFO|WARNING|ERROR)\s*,/;
my $lines = 0;
foreach my $path (grep { !/_test\.cpp$/ } glob('extension/*/*.cpp sidecar/*.cpp sidecar/*/*.cpp'))
{
	my $text = contents($path);
	while ($text =~ /$call\s*/g)
	{
		my $message = $1 ? 'concord gateway: ' : '';
		# The literals of the statement with what stands between them.
		while ($text =~ /\G(?:$string|([^";]+))/gc)
		{
			$message .= defined $1 ? $1 : $2 =~ /\S/ ? '...' : '';
		}
		$message =~ s/\\"/"/g;
		$message =~ s/\{\}/.../g;
		$lines++;
		next if $seen{$message}++ || grep { $message =~ /$_/ } @patterns;
		print "$path: not in the table \"Logs\" of docs/operations.md: $message\n";
		$missing++;
	}
}
die "no log lines found\n" if !$lines;
exit($missing ? 1 : 0);
