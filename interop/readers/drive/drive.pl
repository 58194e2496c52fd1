# Drives a reader of Perl: drive.pl PROGRAM MODULE. readers_test.go has the protocol.
use strict;
use warnings;

$| = 1;
my ($program, $module) = @ARGV;
defined do $program or die $@ || $!;
print "ready ", $module->VERSION, "\n";
while (my $token = <STDIN>) {
    chomp $token;
    my $claims = eval { verify($token) };
    my $reason = join " ", split /\s+/, $@ || "no reason";
    print $claims ? "ok $claims->{sub}\n" : "refused $reason\n";
}
