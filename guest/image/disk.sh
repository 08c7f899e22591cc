#!/bin/sh
# Makes the disk of an image of `kvm-xen image`: a GPT with one ext4 that has what is in $1/tree, as $1/disk of $2 KiB.
set -e
# The kernel makes device nodes; in a user namespace there could be none.
rm -rf "$1/tree/lost+found" "$1"/tree/dev/*
truncate -s "${2}K" "$1/disk"
# The partition's type is that of a root file system on x86-64.
printf 'label: gpt\nstart=2048, type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709\n' | sfdisk -q "$1/disk"
# Features that any GRUB, kernel and e2fsck of the last ten years knows. Behind the file system is the second table.
mke2fs -q -F -t ext4 -b 4096 -U "$KVM_XEN_UUID" -L root -E offset=1048576 -d "$1/tree" \
  -O none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg,sparse_super,large_file,huge_file,dir_nlink,extra_isize,metadata_csum \
  "$1/disk" "$(($2 - 2048))k"
rm -rf "$1/tree"
