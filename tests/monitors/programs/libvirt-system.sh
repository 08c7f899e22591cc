#!/bin/sh
# The system's libvirt with folders, users and settings of its own, in a mount namespace (`unshare -m`): this
# machine's libvirt, if there is one, is neither used nor changed.
#
#   libvirt-system.sh FOLDER COMMAND...
set -eu
folder=$1
shift
for name in etc run lib log cache; do mkdir -p "$folder/$name"; done
own() {
  mkdir -p "$2"
  mount --bind "$folder/$1" "$2"
}
own etc /etc/libvirt
own run /run/libvirt
own lib /var/lib/libvirt
own log /var/log/libvirt
own cache /var/cache/libvirt

# The user of QEMU, whom libvirt-daemon-system would make. A line that is there comes first and counts.
{ cat /etc/passwd; echo 'libvirt-qemu:x:64055:64055::/var/lib/libvirt:/usr/sbin/nologin'; } > "$folder/passwd"
{ cat /etc/group; echo 'libvirt-qemu:x:64055:'; } > "$folder/group"
mount --bind "$folder/passwd" /etc/passwd
mount --bind "$folder/group" /etc/group

# As docs/exec.md says, for a container: no AppArmor, no virtlogd, no cgroups, no device nodes.
cat > "$folder/etc/qemu.conf" << 'END'
security_driver = "none"
stdio_handler = "file"
cgroup_controllers = []
namespaces = []
END
cat > "$folder/etc/libvirtd.conf" << 'END'
auth_unix_ro = "none"
auth_unix_rw = "none"
END
exec "$@"
