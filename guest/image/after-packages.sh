#!/bin/sh
# After packages were installed into an image of `kvm-xen image`; $1 is its root.
set -e
root=$1
echo debian >"$root/etc/hostname"
printf '%s\n' '127.0.0.1 localhost' '127.0.1.1 debian' '::1 localhost ip6-localhost ip6-loopback' >"$root/etc/hosts"
# The console is whoever runs the machine: root needs no password there. (ssh does not take an empty one.)
chroot "$root" passwd -q -d root
if [ -n "$KVM_XEN_SSH_KEY" ]; then
  mkdir -p -m 700 "$root/root/.ssh"
  printf '%s\n' "$KVM_XEN_SSH_KEY" >"$root/root/.ssh/authorized_keys"
fi
# The keys of an ssh server are the machine's own: an image makes one when it is first booted.
if [ -e "$root/usr/sbin/sshd" ]; then
  rm -f "$root"/etc/ssh/ssh_host_*
  mkdir -p "$root/etc/systemd/system/ssh.service.d"
  cat >"$root/etc/systemd/system/ssh.service.d/host-key.conf" <<'END'
[Service]
ExecStartPre=
ExecStartPre=/bin/sh -c 'test -e /etc/ssh/ssh_host_ed25519_key || ssh-keygen -q -t ed25519 -N "" -f /etc/ssh/ssh_host_ed25519_key'
ExecStartPre=/usr/sbin/sshd -t
END
fi
cat >"$root/etc/systemd/network/80-dhcp.network" <<'END'
[Match]
Name=en* eth*

[Network]
DHCP=yes
END
chroot "$root" systemctl -q enable systemd-networkd.service
# A machine without a card would wait for it.
chroot "$root" systemctl -q disable systemd-networkd-wait-online.service
# It looks for snapshots of LVM, which is not there.
chroot "$root" systemctl -q disable e2scrub_reap.service
# What is the host's: archives and proxy are written as the guest reaches them.
printf '%s\n' "$KVM_XEN_SOURCES" >"$root/etc/apt/sources.list"
if [ -n "$KVM_XEN_PROXY" ]; then
  printf 'Acquire::http::Proxy "%s";\n' "$KVM_XEN_PROXY" >"$root/etc/apt/apt.conf.d/80kvm-xen-proxy"
fi
# Descriptions in other languages are as long as all the rest of the package lists.
echo 'Acquire::Languages "none";' >"$root/etc/apt/apt.conf.d/80kvm-xen"
ln -sf ../run/systemd/resolve/stub-resolv.conf "$root/etc/resolv.conf"
# GRUB's configuration, by Debian's own update-grub. It asks grub-probe for the disk of the root file system; no disk has that
# yet: what it will be answers here.
mkdir -p "$root/etc/default/grub.d" "$root/boot/grub"
cat >"$root/etc/default/grub.d/kvm-xen.cfg" <<'END'
GRUB_TERMINAL=console
GRUB_TIMEOUT=1
GRUB_CMDLINE_LINUX="console=hvc0"
GRUB_CMDLINE_LINUX_DEFAULT=
END
mv "$root/usr/sbin/grub-probe" "$root/usr/sbin/grub-probe.kept"
cat >"$root/usr/sbin/grub-probe" <<END
#!/bin/sh
case "\$*" in
  *=device*) echo /dev/xvda1 ;;
  *=fs_uuid*) echo $KVM_XEN_UUID ;;
  *=fs\ * | *=fs | *"-t fs "*) echo ext2 ;;
  *=partmap*) echo gpt ;;
esac
END
chmod 755 "$root/usr/sbin/grub-probe"
# update-grub names the root by its UUID when it sees it there; all of dev is removed later.
mkdir -p "$root/dev/disk/by-uuid"
touch "$root/dev/disk/by-uuid/$KVM_XEN_UUID"
chroot "$root" update-grub 2>/dev/null
mv "$root/usr/sbin/grub-probe.kept" "$root/usr/sbin/grub-probe"
grep -q "root=UUID=$KVM_XEN_UUID" "$root/boot/grub/grub.cfg"
