#!/bin/sh
# Packages: default-jdk-headless
# Varies: a source that an annotation processor generates, with a date and elements in hash order
# Threads: the Java machine's
set -eu
mkdir tool
javac -proc:none -d tool Noted.java Notes.java
javac -cp tool -processor Notes -d classes First.java Second.java
jar --create --file out/noted.jar -C classes .
cp classes/Index.txt out/
