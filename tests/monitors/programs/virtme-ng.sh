#!/usr/bin/env bash
# A command in a guest that virtme-ng starts, with this machine's files; in a mount namespace of its own.
#
#   virtme-ng.sh TREE PATH KERNEL MODULES COMMAND
#
# TREE has the unpacked packages, PATH is a folder of further programs, MODULES the kernel's folder of modules.
set -euo pipefail
tree=$1 path=$2 kernel=$3 modules=$4 command=$5
# The guest loads its modules from there.
mkdir -p /lib/modules
mount --bind "$(dirname "$modules")" /lib/modules
mount --bind "$(dirname "$kernel")" /boot
export PYTHONPATH="$tree/usr/lib/python3/dist-packages" PATH="$path:$tree/usr/bin:$PATH"
# Its QEMU opens our standard files by their names in /proc, which sockets do not allow.
python3 "$tree/usr/bin/vng" --verbose --run "/boot/$(basename "$kernel")" --memory 512M --cpus 2 \
  -- "$command" </dev/null 2>&1 | cat
