#!/bin/bash
# What is written later is newer, by find, by test, by cp -u; and what is not written is not.
mkdir -p tree/one tree/two
echo a >tree/one/a
echo b >tree/two/b
tick
touch stamp
tick
says "" find tree -newer stamp
echo again >tree/two/b
says "tree/two/b" find tree -newer stamp
tick
touch stamp
tick
says "" find tree -newer stamp
echo c >tree/one/c
says "$(printf 'tree/one\ntree/one/c')" eval 'find tree -newer stamp | sort'
tick
touch stamp
tick
mv tree/one/c tree/two/c
says "$(printf 'tree/one\ntree/two')" eval 'find tree -newer stamp | sort'
tick
touch stamp
tick
chmod 600 tree/one/a
says "" find tree -newer stamp
says "tree/one/a" find tree -newercm stamp
ln -s b tree/two/link
says "$(printf 'tree/two\ntree/two/link')" eval 'find tree -newer stamp | sort'
tick
touch stamp
tick
rm tree/two/link
says "tree/two" find tree -newer stamp

# Opened for writing, but not written.
tick
touch stamp
tick
: >>tree/one/a
says "" find tree -newer stamp

[ stamp -nt tree/two ] || fail "not newer than before"
[ tree/two -ot stamp ] || fail "not older"
if [ stamp -nt stamp ]; then fail "newer than itself"; fi

# Explicit times are kept, the future included.
touch -d 2001-02-03T04:05:06.789012345 explicit
says "981173106.789012345" stat -c %.9Y explicit
touch -d 2040-01-01 future
says "2208988800" stat -c %Y future
touch -r explicit stamp
says "981173106.789012345" stat -c %.9Y stamp
if [ stamp -ot explicit ]; then fail "older than what it was set to"; fi
rm future

cp -u tree/one/a copy
says "" cp -uv tree/one/a copy
tick
echo changed >tree/one/a
says "'tree/one/a' -> 'copy'" cp -uv tree/one/a copy
says "" cp -uv tree/one/a copy
cp -p tree/one/a kept
says "$(stat -c %.9Y tree/one/a)" stat -c %.9Y kept
says "" cp -uv tree/one/a kept
install -p tree/one/a installed
says "$(stat -c %.9Y tree/one/a)" stat -c %.9Y installed

# Nothing lies in the future of who looks at it.
mkfifo told
(
  sleep "$LATER"
  echo late >late
  echo told >told
) &
read -r _ <told
written=$(stat -c %Y late)
now=$(date +%s)
[ "$written" -le "$now" ] || fail "written $written, now $now"
wait
