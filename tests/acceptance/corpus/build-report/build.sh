#!/bin/sh
# Packages: procps util-linux iproute2
# Varies: what a build writes down of its machine: processes, memory, load, disks, mounts, uptime
set -eu
{ date; uptime; uname -a; id; } >out/machine
ps -eo pid,ppid,pgid,sid,lstart,etimes,time,args >out/processes
free >out/memory
df . /tmp >out/disks
findmnt --raw --noheadings >out/mounts
cat /proc/stat /proc/loadavg /proc/uptime /proc/sys/kernel/random/boot_id >out/kernel
cat /proc/self/stat /proc/self/status /proc/self/mountinfo >out/self
ip -oneline addr >out/network
stat . / /tmp build.sh >out/stat
