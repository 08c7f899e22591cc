#!/bin/busybox sh
# First process of the guest that `npm start` and `kvm-xen guest` boot: a shell on the console, then power-off.
/bin/busybox mkdir -p /proc /sys /dev /tmp /root
/bin/busybox --install -s /bin
export PATH=/sbin:/bin HOME=/root
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev 2>/dev/null
mkdir -p /dev/pts
mount -t devpts pts /dev/pts
hostname guest
# Drivers of PV devices, which the initramfs has for disks and for "kvm-xen guest". A disk is there a moment after it.
for module in /lib/modules/*.ko; do
  case $module in
    # Requests of up to 1 MiB, as the backend takes them, instead of 128 KiB.
    */xen-blkfront.ko) insmod "$module" max_indirect_segments=256 ;;
    *) [ ! -e "$module" ] || insmod "$module" ;;
  esac
done
if [ -e /lib/modules/xen-blkfront.ko ]; then
  for device in /sys/bus/xen/devices/vbd-*; do
    for turn in 1 2 3 4 5 6 7 8 9 10; do
      [ ! -d "$device" ] || grep -q Connected "$device/state" && break
      sleep 0.1
    done
  done
fi
# "npm start --net" asks for addresses: every card gets its own by DHCP, in the background after a moment.
if [ -n "$KX_DHCP" ]; then
  mkdir -p /etc
  cat >/bin/dhcp-event <<'END'
#!/bin/sh
# What udhcpc calls: $1 says what happened, the environment has the lease.
case $1 in
  deconfig) ip address flush dev "$interface" ;;
  bound | renew)
    ip address replace "$ip/${mask:-24}" dev "$interface"
    for gateway in $router; do
      ip route replace default via "$gateway" dev "$interface" metric "$(cat /sys/class/net/$interface/ifindex)"
    done
    [ -z "$dns" ] || for server in $dns; do echo "nameserver $server"; done >/etc/resolv.conf
    ;;
esac
END
  chmod 755 /bin/dhcp-event
  ip link set lo up
  for card in /sys/class/net/eth*; do
    [ -e "$card" ] || continue
    ip link set "${card##*/}" up
    udhcpc -q -b -t 5 -A 1 -i "${card##*/}" -s /bin/dhcp-event >/dev/null 2>&1
  done
  unset KX_DHCP
fi
mkdir -p /mnt
cd /root

# What the kernel runs when the world outside asks for it. Without an init, only -f ends anything.
mkdir -p /sbin /etc
for how in poweroff reboot halt; do
  printf '#!/bin/sh\nexec /bin/busybox %s -f\n' $how >/sbin/$how
  chmod 755 /sbin/$how
  # Busybox's shell takes its own applets before it looks into PATH, and those tell an init that is not there.
  echo "alias $how=/sbin/$how"
done >/etc/shellrc
export ENV=/etc/shellrc

# The terminal outside has its size in a xenstore node, "ROWS COLUMNS". A message of xenstore is type, req_id,
# tx_id and length, then strings with a NUL behind each. Here: watch the node, and read it at every event.
follow_size() {
  printf '\004\0\0\0\0\0\0\0\0\0\0\0\022\0\0\0console/winsize\0w\0' >&3
  while set -- $(dd bs=16 count=1 <&3 | od -An -v -t u4) && [ $# = 4 ]; do
    body=
    [ $4 = 0 ] || body=$(dd bs=$4 count=1 <&3 | tr '\0' ' ')
    case $1 in
      15) printf '\002\0\0\0\0\0\0\0\0\0\0\0\020\0\0\0console/winsize\0' >&3 ;;
      2) set -- $body && stty rows $1 cols $2 </dev/hvc0 ;;
    esac
  done
}
[ -c /dev/xen/xenbus ] && (exec 3<>/dev/xen/xenbus && follow_size) 2>/dev/null &

# The agent of Machine.exec: programs of the host run commands by it, through a console of its own.
for console in /sys/bus/xen/devices/console-*; do
  [ -e "$console" ] && [ -x /bin/kvm-xen-agent ] && kvm-xen-agent </dev/null >/dev/null 2>&1 &
  break
done

[ -n "$KX_ROWS" ] && stty rows "$KX_ROWS" cols "$KX_COLUMNS"
unset KX_ROWS KX_COLUMNS

host=$(dmesg | sed -n 's/.*Hypervisor detected: //p')
[ -e /sys/hypervisor/type ] && cd /sys/hypervisor &&
  host="$(cat type) $(cat version/major).$(cat version/minor)"
cd /root
banner="
Linux $(uname -r), a guest of $host on $(nproc) CPU(s), $(sed -n 's/MemTotal: *//p' /proc/meminfo) of memory"
# From here "npm start" goes on the next time: what follows is quick, and says how things are then.
[ -n "$KX_PROMPT" ] && /bin/suspend-point </dev/hvc0
unset KX_PROMPT
read -r clock </sys/devices/system/clocksource/clocksource0/current_clocksource
echo "$banner, clock $clock.
\"exit\" or \"poweroff\" ends it.
"
# cttyhack makes the console the controlling terminal: without one, Ctrl-C reaches nobody.
setsid cttyhack sh
poweroff -f
