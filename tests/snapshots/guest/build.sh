#!/bin/sh
# Builds the guest of the exact snapshots.
#   build.sh            writes work.elf beside this file
#   build.sh --check    compares with what is there; exit status 1 when they differ
set -eu
cd "$(dirname "$0")"
embedded=../../../guest/embedded
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for part in entry print trap; do
  as --64 -mx86-used-note=no -I "$embedded" -o "$work/$part.o" "$embedded/$part.S"
done
for part in work devices; do
  as --64 -mx86-used-note=no -I "$embedded" -o "$work/$part.o" "$part.S"
done
ld -m elf_x86_64 -T "$embedded/image.ld" --oformat binary --build-id=none -o "$work/work.elf" \
  "$work/entry.o" "$work/print.o" "$work/trap.o" "$work/work.o" \
  "$work/devices.o"
chmod 644 "$work/work.elf"
if [ "${1:-}" = --check ]; then
  cmp work.elf "$work/work.elf"
else
  cp "$work/work.elf" work.elf
  echo "work.elf: $(wc -c <work.elf) bytes"
fi
