#!/usr/bin/perl
# documented_errors.pl: every message that the extension can raise (errmsg, elog(ERROR)) must stand in docs/errors.md, with "..." for
# what is filled in. Prints those that do not; exit status 1 if there are any.
use strict;
use warnings;

open(my $file, '<', 'docs/errors.md') or die "docs/errors.md: $!";
my $documented = join('', <$file>);
my $string = qr/"((?:[^"\\]|\\.)*)"/;
my $missing = 0;
my %seen;
foreach my $path (glob('extension/*.c extension/*/*.c'))
{
	open(my $source, '<', $path) or die "$path: $!";
	my $text = join('', <$source>);
	while ($text =~ /\b(?:errmsg|errmsg_plural|elog\s*\(\s*(?:ERROR|FATAL)\s*,)\s*\(?\s*((?:$string\s*)+)/g)
	{
		my $literals = $1;
		my $message = join('', $literals =~ /$string/g);
		$message =~ s/\\"/"/g;
		$message =~ s/%[-0-9.]*(?:ll|l|z)?[a-zA-Z]/.../g;
		$message =~ s/\.\.\.\/\.\.\./.../g;
		next if $message eq '...' || $seen{$message}++;
		next if index($documented, $message) >= 0;
		print "$path: not in docs/errors.md: $message\n";
		$missing++;
	}
}
die "no messages found\n" if !%seen;
exit($missing ? 1 : 0);
