#!/bin/busybox sh
# Gives memory back and takes it again: lines "E NAME VALUE..." for the test to read.
/bin/busybox mkdir -p /proc /sys /dev
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
balloon=/sys/devices/system/xen_memory/xen_memory0

say() { echo "E $*"; }
kib() { sed -n "s/^$1: *\([0-9]*\) kB/\1/p" /proc/meminfo; }
aim() { # NAME KIB: waits until the balloon is there
  echo "$2" > $balloon/target_kb
  for _ in 1 2 3 4 5 6 7 8 9 10; do
    sleep 1
    [ "$(cat $balloon/info/current_kb)" -eq "$2" ] && break
  done
  say "$1" "$(cat $balloon/info/current_kb) $(kib MemTotal) $(kib MemFree)"
}

start=$(cat $balloon/info/current_kb)
say start "$start $(kib MemTotal) $(kib MemFree)"
aim small $((start - 100 * 1024))
# What is left can be used, and what comes back.
yes kvm-xen | head -c 1048576 > /block
fill() { # FILE MIB
  for _ in $(seq "$2"); do cat /block; done > "$1"
  say "$1" "$(wc -c < "$1") $(cmp "$1" /block 2>&1 | grep -c EOF) $(tail -c 1048576 "$1" | cmp - /block && echo same)"
}
fill /small 48
rm /small
aim back "$start"
fill /big 96
say done
poweroff -f
