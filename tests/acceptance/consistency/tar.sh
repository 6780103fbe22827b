#!/bin/bash
# tar: what stands still does not seem to change, and what is in the archive is not archived again.
mkdir -p tree/sub
for number in 1 2 3 4 5 6 7 8 9; do
  head -c "${number}0000" /dev/zero >"tree/file-$number"
done
echo text >tree/sub/text
ln -s text tree/sub/link
ln tree/sub/text tree/hard

says "" tar -cf one.tar tree
says "" tar --format=posix -cf two.tar tree
says "" tar -df one.tar
mkdir unpacked
says "" tar -xf two.tar -C unpacked
says "" tar -df two.tar -C unpacked
tick
echo more >>tree/sub/text
if tar -df one.tar >/dev/null; then fail "tar does not see the change"; fi
tick
says "" tar --listed-incremental=snapshot -cf three.tar tree
tick
cp snapshot snapshot-2
says "" tar --listed-incremental=snapshot-2 -cf four.tar tree
says "" eval 'tar -tf four.tar | grep -v /$ || true'
tick
echo more >>tree/file-3
says "" tar --listed-incremental=snapshot -cf five.tar tree
says "tree/file-3" eval 'tar -tf five.tar | grep -v /$ || true'
