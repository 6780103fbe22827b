#!/bin/bash
# rsync: what was copied is not copied again, and what has changed is.
mkdir -p tree/sub
for number in 1 2 3 4 5 6 7 8 9; do
  head -c "${number}0000" /dev/zero >"tree/file-$number"
done
echo text >tree/sub/text
ln -s text tree/sub/link
ln tree/sub/text tree/hard

rsync -aH tree/ copy
says "" rsync -aHi tree/ copy
second
echo more >>tree/sub/text
has "sub/text" rsync -aHi tree/ copy
says "" rsync -aHi tree/ copy
second
touch tree/file-1
has "file-1" rsync -aHi tree/ copy
says "" rsync -aHi tree/ copy
says "" rsync -aHiu tree/ copy
# Of the same size: rsync sees the time alone.
echo TEXT >tree/short
rsync -aH tree/ copy
second
echo text >tree/short
has "short" rsync -aHi tree/ copy
says "text" cat copy/short
