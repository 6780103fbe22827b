#!/bin/sh
# Packages: default-jdk-headless
# Varies: times in the archive and a resource with date, UUID and process number
# Threads: the Java machine's
set -eu
javac -d classes Stamp.java
java -cp classes Stamp >classes/stamp.properties
jar --create --file out/stamp.jar --main-class Stamp -C classes .
