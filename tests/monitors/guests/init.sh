#!/bin/busybox sh
# First process of the guests of these tests: what /script says, and lines "E NAME VALUE..." for the test to read.
/bin/busybox mkdir -p /proc /sys /dev /tmp /run /mnt
/bin/busybox --install -s /bin
export PATH=/bin:/sbin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev 2>/dev/null

say() { echo "E $*"; }
load() { for module in "$@"; do modprobe "$module" || say failed "modprobe $module"; done; }

# What this machine is.
facts() {
  say kernel "$(uname -r)"
  say hypervisor "$(dmesg | sed -n 's/.*Hypervisor detected: //p')"
  say cpus "$(nproc)"
  say clocksource "$(cat /sys/devices/system/clocksource/clocksource0/current_clocksource)"
  say xen "$(cat /sys/hypervisor/type /sys/hypervisor/guest_type 2>/dev/null | tr '\n' ' ')"
  say console "$(cat /sys/class/tty/console/active)"
}

# Waits up to 20 s until a file is there.
wait_for() {
  for i in $(seq 200); do [ -e "$1" ] && return 0; sleep 0.1; done
  say failed "no $1"
  return 1
}

# Writes 1 MiB to a disk, drops the caches, reads them back.
disk() {
  wait_for "/dev/$1" || return 1
  dd if=/dev/urandom of=/tmp/data bs=65536 count=16 2>/dev/null
  dd if=/tmp/data of="/dev/$1" bs=65536 conv=fsync 2>/dev/null || say failed "writing $1"
  echo 3 > /proc/sys/vm/drop_caches
  [ "$(dd if="/dev/$1" bs=65536 count=16 2>/dev/null | sha256sum)" = "$(sha256sum < /tmp/data)" ] \
    && say "disk-$1" ok || say "disk-$1" differs
}

# The user network of QEMU: pings the gateway, fetches a file from the host and says its checksum.
network() {
  wait_for /sys/class/net/eth0 || return 1
  ifconfig lo 127.0.0.1 up
  ifconfig eth0 10.0.2.15 netmask 255.255.255.0 up
  route add default gw 10.0.2.2
  ping -c 2 -W 10 10.0.2.2 > /dev/null && say ping ok || say ping failed
  say driver "$(basename "$(readlink /sys/class/net/eth0/device/driver)")"
  say file "$(wget -q -O - "http://10.0.2.2:$1/file" | sha256sum | cut -d ' ' -f 1)"
}

# Lines of /proc/interrupts.
interrupts() { sed 's/^ */I /' /proc/interrupts; }

option() { sed -n "s/.*\<$1=\([^ ]*\).*/\1/p" /proc/cmdline; }

. /script
