#!/bin/busybox sh
# What a guest can say about the machine it runs on: lines "E NAME VALUE..." for the test to read.
/bin/busybox mkdir -p /proc /sys /dev /tmp
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev 2>/dev/null

say() { echo "E $*"; }
timer_interrupts() { sed -n 's/^ *[0-9]*: *\([0-9]*\) .*timer0.*/\1/p' /proc/interrupts; }

say type "$(cat /sys/hypervisor/type)"
say release "$(uname -r)"
say cpus "$(nproc)"
say online "$(cat /sys/devices/system/cpu/online)"
say clocksource "$(cat /sys/devices/system/clocksource/clocksource0/current_clocksource)"
say date "$(date +%s)"
say timer-before "$(timer_interrupts)"
say sleep begin
sleep 2
say sleep end
say md5 "$(yes kvm-xen | head -c 67108864 | md5sum)"
count=0
while [ $count -lt 200 ]; do
  /bin/busybox true &
  wait $! && count=$((count + 1))
done
say forks "$count"
say timer-after "$(timer_interrupts)"
dmesg | sed -n 's/.*Hypervisor detected: /E hypervisor /p'
sed -n '/xen-percpu/s/^/I /p' /proc/interrupts
say done
poweroff -f
