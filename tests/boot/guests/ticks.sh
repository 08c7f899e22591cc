#!/bin/busybox sh
# Says every second that it is alive, and how much memory it has, until somebody ends it.
/bin/busybox mkdir -p /proc /sys /dev /sbin
/bin/busybox --install -s /bin
export PATH=/bin
# The kernel runs this when it is told to power off; there is no init to signal.
printf '#!/bin/sh\nexec poweroff -f\n' > /sbin/poweroff
chmod 755 /sbin/poweroff
mount -t proc proc /proc
mount -t sysfs sys /sys

echo "E cpus $(nproc)"
tick=0
while [ $tick -lt 100 ]; do
  sleep 1
  tick=$((tick + 1))
  echo "E tick $tick $(sed -n 's/^MemTotal: *\([0-9]*\) kB/\1/p' /proc/meminfo)"
done
