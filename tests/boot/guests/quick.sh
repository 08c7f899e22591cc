#!/bin/busybox sh
# Says how many CPUs there are and powers off.
/bin/busybox mkdir -p /proc /sys
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
echo "E cpus $(/bin/busybox nproc)"
echo "E online $(/bin/busybox cat /sys/devices/system/cpu/online)"
/bin/busybox poweroff -f
