#!/usr/bin/perl
# documented_metrics.pl [--write]: docs/operations.md has the list of metrics that sidecar/metrics/catalogue.h has (--write: puts it there);
# each of them is exported somewhere; and grafana/concord.json asks for no other one, in JSON that can be read. Prints what is wrong; exit
# status 1 if anything is.
use strict;
use warnings;
use JSON::PP;

sub contents
{
	my ($path) = @_;
	open(my $file, '<', $path) or die "$path: $!";
	return join('', <$file>);
}

my $bad = 0;
sub complain { print "@_\n"; $bad++; }

my (%metrics, @tables, $part);
my $catalogue = contents('sidecar/metrics/catalogue.h');
my ($list) = $catalogue =~ /kMetrics\[\] = \{\n(.*?)\n\};/s or die "sidecar/metrics/catalogue.h has no list\n";
my $string = qr/"((?:[^"\\]|\\.)*)"/;
while ($list =~ m{\G\s*(?://\s*----\s*(.*?)\s*----\n|\{\s*$string\s*,\s*MetricType::k(\w+)\s*,\s*$string\s*,\s*((?:$string\s*)+)\}\s*,?)}g)
{
	if (defined $1) { push @tables, [ ucfirst $1 ]; next; }
	my ($name, $type, $labels, $help) = ($2, lc $3, $4, $5);
	$help = join('', $help =~ /$string/g);
	$metrics{$name} = $type;
	push @{ $tables[-1] }, "| `$name` | $type | " . join(', ', map { "`$_`" } split /,/, $labels) . " | $help |";
}
my $entries = () = $list =~ /MetricType::/g;
die "only " . keys(%metrics) . " of $entries metrics are understood\n" if $entries != keys %metrics || !$entries;

# The documentation.
my $text = join("\n", map { my ($title, @rows) = @$_; ("**$title**", '', '| metric | type | labels | meaning |', '|---|---|---|---|', @rows, '') } @tables);
my ($begin, $end) = ("<!-- metrics: scripts/documented_metrics.pl --write -->\n", "<!-- end of metrics -->\n");
my $docs = contents('docs/operations.md');
my ($there) = $docs =~ /\Q$begin\E(.*?)\Q$end\E/s or die "docs/operations.md has no place for the metrics\n";
if (@ARGV && $ARGV[0] eq '--write')
{
	$docs =~ s/\Q$begin\E.*?\Q$end\E/$begin$text$end/s;
	open(my $file, '>', 'docs/operations.md') or die $!;
	print $file $docs;
	close($file);
}
elsif ($there ne $text)
{
	my %there = map { $_ => 1 } split /\n/, $there;
	my %wanted = map { $_ => 1 } split /\n/, $text;
	complain("docs/operations.md is not as sidecar/metrics/catalogue.h; run scripts/documented_metrics.pl --write");
	complain("  missing: $_") foreach grep { !$there{$_} } sort keys %wanted;
	complain("  to go: $_") foreach grep { !$wanted{$_} } sort keys %there;
}

# Whether each is exported.
my $sources = join('', map { contents($_) } grep { !/catalogue\.h$|_test\.cpp$/ } glob('sidecar/*.cpp sidecar/*/*.cpp extension/gateway/*.cpp'));
foreach my $name (sort keys %metrics)
{
	complain("$name is exported nowhere") if index($sources, "\"$name\"") < 0;
}

# The dashboard.
my $dashboard = eval { decode_json(contents('grafana/concord.json')) };
complain("grafana/concord.json: $@") if !$dashboard;
my $asked = 0;
my ($visit, %histograms);
$visit = sub {
	my ($node, $key) = @_;
	if (ref $node eq 'HASH') { $visit->($node->{$_}, $_) foreach sort keys %$node; return; }
	if (ref $node eq 'ARRAY') { $visit->($_, $key) foreach @$node; return; }
	return if !defined $node || $key !~ /^(?:expr|query|definition)$/;
	foreach my $name ($node =~ /\b((?:concord|process)_\w+)/g)
	{
		my $metric = $name;
		$metric =~ s/_(?:bucket|sum|count)$// if !$metrics{$metric};
		$asked++;
		complain("grafana/concord.json: there is no $name") if !$metrics{$metric} || ($metric ne $name) != ($metrics{$metric} eq 'histogram');
	}
};
$visit->($dashboard, '') if $dashboard;
complain('grafana/concord.json asks for nothing') if !$asked;
exit($bad ? 1 : 0);
