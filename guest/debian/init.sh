#!/bin/busybox sh
# First process of the guest that `npm start` boots: a shell on the Xen console, then power-off.
/bin/busybox mkdir -p /proc /sys /dev /tmp /root
/bin/busybox --install -s /bin
export PATH=/bin HOME=/root
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev 2>/dev/null
mkdir -p /dev/pts
mount -t devpts pts /dev/pts
hostname guest
cd /root

[ -n "$KX_ROWS" ] && stty rows "$KX_ROWS" cols "$KX_COLUMNS"
unset KX_ROWS KX_COLUMNS

cat <<END

Linux $(uname -r), a guest of $(cat /sys/hypervisor/type) $(cat /sys/hypervisor/version/major).$(cat /sys/hypervisor/version/minor) on $(nproc) CPU(s), $(sed -n 's/MemTotal: *//p' /proc/meminfo) of memory, clock $(cat /sys/devices/system/clocksource/clocksource0/current_clocksource).
"exit" or "poweroff -f" ends it.

END
# cttyhack makes the console the controlling terminal: without one, Ctrl-C reaches nobody.
setsid cttyhack sh
poweroff -f
