#!/bin/busybox sh
# Runs the programs of /programs; each line of theirs follows "P ".
/bin/busybox mkdir -p /proc /dev
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev 2>/dev/null
for program in /programs/*; do
  $program 2>&1 | /bin/busybox sed 's/^/P /'
done
/bin/busybox poweroff -f
