# Disk and network, each row timed by the guest's own clock: "T name microseconds bytes". $1 the disk, $2 and $3 the host's
# ports that send and that take; then names of rows (all).
disk=$1 sender=$2 taker=$3
shift 3
wanted="$*"
mount -t tmpfs tmpfs /tmp
modprobe -a xen-netfront virtio_net 2>/dev/null
for i in $(seq 100); do [ -e /sys/class/net/eth0 ] && break; sleep 0.1; done
ip link set lo up
ip link set eth0 up
ip address add 10.0.2.15/24 dev eth0
mib=$((1 << 20))

is_wanted() { [ -z "$wanted" ] || [[ " $wanted " == *" $1 "* ]]; }

# timed NAME BYTES COMMAND...
timed() {
  local name=$1 bytes=$2
  shift 2
  is_wanted "$name" || return 0
  # Whoever counts instructions and host time from outside does it while nothing happens here.
  sleep 1
  echo "S $name"
  sleep 1
  local from=$EPOCHREALTIME
  "$@" || { echo "F $name"; return 0; }
  local to=$EPOCHREALTIME
  echo "T $name $((${to/./} - ${from/./})) $bytes"
}

copy() { dd bs="$1" count="$2" "${@:3}" 2>/dev/null; }
# fio MODE: 4 KiB each, eight at once. Its start takes a second or two by itself, which is not counted.
work() {
  is_wanted "fio-$1" || return 0
  sleep 1
  echo "S fio-$1"
  sleep 1
  local line
  line=$(fio --name=a --filename="$disk" --size=256m --io_size=128m --bs=4k --direct=1 --ioengine=libaio --iodepth=8 \
    --rw="$1" --minimal) || { echo "F fio-$1"; return 0; }
  local IFS=';'
  local fields=($line)
  case $1 in *read) local ms=${fields[8]} ;; *) local ms=${fields[49]} ;; esac
  echo "T fio-$1 $((ms * 1000)) $((128 * mib))"
}
# Partial reads do not count.
receive() { copy 64k 4096 iflag=fullblock of=/dev/null </dev/tcp/10.0.2.2/"$sender"; }
transmit() { copy 64k 4096 if=/dev/zero >/dev/tcp/10.0.2.2/"$taker"; }

timed dd-read $((512 * mib)) copy 1M 512 if="$disk" of=/dev/null iflag=direct
timed dd-write $((512 * mib)) copy 1M 512 if=/dev/zero of="$disk" oflag=direct
for mode in read write randread randwrite; do work $mode; done
timed tcp-receive $((256 * mib)) receive
timed tcp-transmit $((256 * mib)) transmit
echo devices-marker
poweroff -f
