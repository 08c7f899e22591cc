# What people run, each timed by the guest's own clock: "T name seconds checksum". Arguments: names (all).
cd /tmp && mount -t tmpfs tmpfs /tmp && cd /tmp || exit 1
here=$(dirname "$0")
wanted="$*"

# timed NAME RESULT COMMAND...: runs the command; the check is that of the file RESULT.
timed() {
  local name=$1 result=$2
  shift 2
  [ -z "$wanted" ] || [[ " $wanted " == *" $name "* ]] || return 0
  echo "S $name"
  local from=$EPOCHREALTIME
  "$@" || { echo "F $name ended with $?"; return 0; }
  local to=$EPOCHREALTIME
  local us=$(( ${to/./} - ${from/./} ))
  printf 'T %s %d.%06d %s\n' "$name" $((us / 1000000)) $((us % 1000000)) "$(cksum < "$result" | tr ' ' -)"
}

compile() { gcc -O2 -c -o bench.o "$here/guest-bench.c"; }
python() { python3 -E "$here/work.py" > python.out; }
sha256() { openssl dgst -sha256 -r data data data data > sha256.out; }
aes() { openssl enc -aes-256-cbc -K "$(printf '0%.0s' {1..64})" -iv "$(printf '0%.0s' {1..32})" -in data -out aes.out; }
pack_gzip() { gzip -n -c data > data.gz; }
unpack_gzip() { gzip -d -c data.gz > data.gunzip; }
pack_xz() { xz -T1 -2 -c data > data.xz; }
unpack_xz() { xz -d -c data.xz > data.unxz; }
database() { rm -f base && sqlite3 base < "$here/work.sql" > sqlite.out; }
javascript() { node "$here/work.mjs" > node.out; }
shell() { for i in $(seq 200); do /bin/true; ls / | wc -l; done > shell.out; }

# The same bytes everywhere: the image's own Python, 16 MiB of it.
find /usr/lib/python3* /usr/share/perl* -type f -name '*.p[ylm]' | LC_ALL=C sort | xargs cat | head -c 16M > data
timed gcc bench.o compile
timed python python.out python
timed gzip data.gz pack_gzip
timed gunzip data.gunzip unpack_gzip
timed xz data.xz pack_xz
timed unxz data.unxz unpack_xz
timed sha256 sha256.out sha256
timed aes aes.out aes
timed sqlite sqlite.out database
timed node node.out javascript
timed shell shell.out shell
echo userland-marker
sync
echo o > /proc/sysrq-trigger
sleep 60
