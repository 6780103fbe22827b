#!/bin/sh
# Packages: php-cli
# Varies: times in a phar, `uniqid`, `shuffle`, `random_bytes`
set -eu
php -d phar.readonly=0 build.php src out/small.phar
