#!/bin/sh
# QEMU beside virtiofsd, which maps the guest's memory too.
#
#   virtiofs.sh SOCKET FOLDER VIRTIOFSD... -- QEMU...
set -eu
socket=$1 shared=$2
shift 2
daemon=
while [ "$1" != -- ]; do
  daemon="$daemon $1"
  shift
done
shift
# The default filter of system calls stays.
$daemon --socket-path "$socket" --shared-dir "$shared" --sandbox none &
until [ -S "$socket" ]; do
  kill -0 $! || exit 1
  sleep 0.1
done
"$@" -chardev "socket,id=fs,path=$socket" -device vhost-user-fs-pci,chardev=fs,tag=shared
wait
