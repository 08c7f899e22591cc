#!/bin/sh
# Builds guest/debian/suspend-point.elf from its source; --check compares with the file that is there.
set -e
cd "$(dirname "$0")"
out=suspend-point.elf
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
as --64 -o "$work/point.o" suspend-point.S
ld -static --no-warn-rwx-segments -s -N --build-id=none -e _start -o "$work/point" "$work/point.o"
if [ "$1" = --check ]; then
  cmp "$work/point" "$out" || { echo "guest/debian/$out is not what its source says: run guest/debian/build.sh"; exit 1; }
else
  cp "$work/point" "$out"
  chmod 644 "$out"
fi
