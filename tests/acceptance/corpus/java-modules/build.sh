#!/bin/sh
# Packages: default-jdk-headless
# Varies: the order in which a pool of four threads compiles and packs twelve modules, and the times
# Threads: the pool's and the Java machine's
# Memory: who waits for a disk in the pool is overtaken by another, and takes another module next
set -eu
javac -d classes Build.java
java -cp classes Build out
