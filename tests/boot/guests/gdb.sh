#!/bin/busybox sh
# Says where symbols are, and changes its name: lines "E NAME VALUE..." for the test to read.
/bin/busybox mkdir -p /proc
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
for name in start_kernel __x64_sys_sethostname init_uts_ns; do
  echo "E $name $(sed -n "s/^\([0-9a-f]*\) . $name\$/\1/p" /proc/kallsyms)"
done
for i in $(seq 5); do hostname "name$i"; done
echo "E name $(hostname)"
poweroff -f
