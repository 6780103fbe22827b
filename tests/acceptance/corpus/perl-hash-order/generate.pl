use strict;
use warnings;
use Data::Dumper;
use File::Temp;
use Storable qw(freeze);

my %words = map { ("word-$_" => $_) } 1 .. 60;
my @things = map { {} } 1 .. 3;
my $temporary = File::Temp->new;
print "# ", scalar(localtime), " $$ ", rand, " $things[0] ", $temporary->filename =~ s{.*/}{}r, "\n";
print Data::Dumper->Dump([\%words], ["words"]);
print "# ", unpack("H*", freeze(\%words)), "\n";
print "1;\n";
