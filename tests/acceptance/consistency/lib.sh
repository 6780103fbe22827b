#!/bin/bash
# What every script here starts with: it is put in front of them.
#
# A script works in an empty directory and fails with the first step that does not do what it does on
# bare Linux. In the end it lists all times and numbers, so that two runs can be compared.
set -euo pipefail
export LC_ALL=C
START=$PWD

fail() {
  echo "FAIL: $*"
  exit 1
}

# The command says exactly what the first argument is, on standard output and error.
says() {
  local expected=$1 said
  shift
  said=$("$@" 2>&1) || fail "exit status $? from: $*: $said"
  [ "$said" = "$expected" ] || fail "'$*' says '$said' and not '$expected'"
}

# The output of the command has the text in it, or (lacks) has it not.
has() {
  local text=$1 said
  shift
  said=$("$@" 2>&1) || fail "exit status $? from: $*: $said"
  [[ $said == *"$text"* ]] || fail "no '$text' in what '$*' says: $said"
}

lacks() {
  local text=$1 said
  shift
  said=$("$@" 2>&1) || fail "exit status $? from: $*: $said"
  [[ $said != *"$text"* ]] || fail "'$text' in what '$*' says: $said"
}

list_everything() {
  cd "$START"
  find . -printf '%P %y %s %T@ %C@ %A@ %i\n' | LC_ALL=C sort
}
trap list_everything EXIT

# Bare, the times of files move with the kernel's timer, and some programs compare whole seconds. Inside,
# every step has a time of its own, and no waiting is needed.
if [ -n "${BARE:-}" ]; then
  tick() { sleep 0.02; }
  second() { sleep 1.1; }
  LATER=0.3
else
  tick() { :; }
  second() { :; }
  LATER=5000
fi
export LATER
