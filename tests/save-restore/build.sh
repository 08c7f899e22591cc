#!/bin/sh
# Assembles the guest of the save and restore test.
#   build.sh            writes guest.bin beside this file
#   build.sh --check    compares with what is there; exit status 1 when they differ
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
as --64 -mx86-used-note=no -o "$work/guest.o" guest.S
ld -m elf_x86_64 -Ttext=0x10000 --oformat binary --build-id=none -e 0x10000 -o "$work/guest.bin" "$work/guest.o"
chmod 644 "$work/guest.bin"
if [ "${1:-}" = --check ]; then
  cmp guest.bin "$work/guest.bin"
else
  cp "$work/guest.bin" guest.bin
  echo "guest.bin: $(wc -c <guest.bin) bytes"
fi
