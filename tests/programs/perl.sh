#!/bin/bash
# SPDX-License-Identifier: MIT
# Hashes, sort and regular expressions under a storm of SIGALRM.
# packages: perl
# timeout: 60
# quick: yes
. "$(dirname "$0")/lib.sh"
need perl

cat >work.pl <<'PL'
use strict; use warnings;
use Time::HiRes qw(ualarm);
use Digest::SHA qw(sha256_hex);
use File::Copy;
copy('/proc/self/maps', 'maps') or die;
my ($ticks, @kept) = (0);
$SIG{ALRM} = sub {
	$ticks++;
	push @kept, [$ticks, 'x' x ($ticks % 3000)];
	shift @kept if @kept > 100;
	# one at a time: perl gives up when 120 are pending
	ualarm(500);
};
ualarm(500);
my %h;
for my $round (1 .. 3) {
	for my $i (1 .. 60000) {
		$h{"key" . ($i * 7919 % 60013)} .= chr(97 + $i % 26) x ($i % 30);
	}
	delete @h{grep { /7$/ } keys %h} if $round == 2;
}
my @sorted = sort { $h{$a} cmp $h{$b} || $a cmp $b } keys %h;
my $text = join ',', map { "$_=$h{$_}" } @sorted;
my $n = () = $text =~ /key(\d+)=([a-m]+)/g;
(my $other = $text) =~ s/([a-z])\1+/$1/g;
$SIG{ALRM} = 'IGNORE';
ualarm(0);
print scalar(@sorted), " $n ", sha256_hex($text), ' ', sha256_hex($other), "\n";
print STDERR "ticks $ticks\n";
PL
perl work.pl >want 2>/dev/null
rm maps
under perl work.pl >got
loaded_maps maps
same got want
ticks=$(sed -n 's/^ticks //p' "$STDERR")
[ "${ticks:-0}" -gt 50 ] || fail "only '$ticks' signals arrived"
