#!/bin/sh
# Builds the embedded guest.
#   build.sh            writes image.elf beside this file
#   build.sh --check    compares with the image that is there; exit status 1 when they differ
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for part in entry print trap tour; do
  as --64 -mx86-used-note=no -o "$work/$part.o" "$part.S"
done
ld -m elf_x86_64 -T image.ld --oformat binary --build-id=none -o "$work/image.elf" \
  "$work/entry.o" "$work/print.o" "$work/trap.o" "$work/tour.o"
chmod 644 "$work/image.elf"
if [ "${1:-}" = --check ]; then
  cmp image.elf "$work/image.elf"
else
  cp "$work/image.elf" image.elf
  echo "image.elf: $(wc -c <image.elf) bytes"
fi
