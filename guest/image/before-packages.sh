#!/bin/sh
# Before packages are installed into an image of `kvm-xen image`; $1 is its root. The initial RAM disk gets the drivers of the
# disks that a guest may have, and no others: one with all of them takes the guest seconds longer to unpack.
set -e
mkdir -p "$1/etc/initramfs-tools/conf.d"
echo 'MODULES=list' >"$1/etc/initramfs-tools/conf.d/kvm-xen"
printf '%s\n' xen-blkfront virtio_pci virtio_blk ext4 >"$1/etc/initramfs-tools/modules"
# Requests of up to 1 MiB, as the backend takes them, instead of 128 KiB.
mkdir -p "$1/etc/modprobe.d"
echo 'options xen-blkfront max_indirect_segments=256' >"$1/etc/modprobe.d/kvm-xen.conf"
# update-initramfs asks fsck for the type of the root file system.
echo "UUID=$KVM_XEN_UUID / ext4 errors=remount-ro 0 1" >"$1/etc/fstab"
