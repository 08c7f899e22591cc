#!/bin/sh
# What a user of virsh does with a small domain, in lines "E NAME VALUE" for the test to read.
#
#   libvirt.sh capabilities|domain URI FOLDER [OPTIONS of libvirtd]
#
# FOLDER has domain.xml; the guest's console is written to console.log there. Without options libvirt starts
# its daemon itself.
set -u
what=$1 uri=$2 folder=$3
shift 3
say() { echo "E $*"; }
v() { virsh -q -c "$uri" "$@"; }
# Fails and says so, but goes on: the end clears away.
try() {
  name=$1
  shift
  "$@" > "$folder/out" 2>&1 && say "$name" ok || say failed "$name: $(cat "$folder/out")"
}
# The state of the domain in a word.
state() { say "$1" "$(v domstate small)"; }
# Until a file has a text.
await() {
  i=0
  until grep -q "$2" "$1" 2> /dev/null; do
    i=$((i + 1))
    [ $i -lt 900 ] || { say failed "no $2 in $1"; return 1; }
    sleep 0.2
  done
}

[ $# -eq 0 ] || try daemon /usr/sbin/libvirtd --daemon --pid-file "$folder/libvirtd.pid" "$@"
clear_away() {
  trap - EXIT TERM
  v destroy small > "$folder/out" 2>&1
  [ ! -e "$folder/libvirtd.pid" ] || kill "$(cat "$folder/libvirtd.pid")"
}
trap clear_away EXIT
trap 'exit 1' TERM

# Types a line on the domain's console until the guest has answered, then leaves the console.
type_line() {
  rm -f "$folder/shown"
  {
    await "$folder/shown" 'Escape character'
    i=0
    until grep -q "answer .* $1" "$folder/shown"; do
      i=$((i + 1))
      [ $i -lt 60 ] || break
      echo "$1"
      sleep 1
    done
    printf '\035'
  } | script -qfc "virsh -c $uri console small --force" "$folder/shown" > "$folder/out"
  say "$1" "$(sed -n "s/.*E answer \([0-9]*\) $1.*/\1/p" "$folder/shown" | tail -n 1)"
}

say version "$(v version | sed -n 's/^Running hypervisor: //p')"
say capabilities "$(v capabilities | sed -n "s/.*<domain type='\(.*\)'.*/\1/p" | sort -u | tr '\n' ' ')"
say domcapabilities "$(v domcapabilities | sed -n 's/.*<domain>\(.*\)<.*/\1/p')"
if [ "$what" = capabilities ]; then
  say done
  exit
fi
try define v define "$folder/domain.xml"
try start v start small
state started
await "$folder/console.log" '^E ready'
type_line first
try suspend v suspend small
state suspended
try resume v resume small
try save v save small "$folder/small.save"
state saved
try restore v restore "$folder/small.save"
state restored
type_line second
try destroy v destroy small
state destroyed
try undefine v undefine small
say done
