#!/bin/sh
# Packages: ruby
# Varies: date of the gem, times in its archives, and a file with random numbers and `object_id`
set -eu
ruby generate.rb >lib/table.rb
gem build --silent --output out/small.gem small.gemspec
cp lib/table.rb out/
