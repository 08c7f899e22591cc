#!/bin/sh
# microsandbox.sh PACKAGE FOLDER BUSYBOX: boots a guest of microsandbox with two CPUs, keeps it while it runs, and restores and
# branches it. What the guests print comes to the standard output.
set -eu
package=$1 folder=$2 busybox=$3
export HOME="$folder" MSB_HOME="$folder/home" LD_LIBRARY_PATH="$package/lib"
# Its exec reads the standard input to its end.
msb() { timeout 120 "$package/bin/msb" "$@" < /dev/null; }

# An image of a container, as `docker save` writes it: one layer.
image="$folder/image"
mkdir -p "$MSB_HOME" "$image" "$folder/root/bin" "$folder/root/etc" "$folder/root/tmp"
cp "$busybox" "$folder/root/bin/busybox"
for name in sh cat echo ps sleep nproc mount dmesg grep sha256sum; do
  ln -s busybox "$folder/root/bin/$name"
done
echo root:x:0:0:root:/:/bin/sh > "$folder/root/etc/passwd"
echo root:x:0: > "$folder/root/etc/group"
tar --numeric-owner --owner 0 --group 0 -C "$folder/root" -cf "$image/layer.tar" .
layer=$(sha256sum "$image/layer.tar" | cut -d ' ' -f 1)
cat > "$image/config.json" << END
{ "architecture": "amd64", "os": "linux", "config": { "Env": ["PATH=/bin"], "Cmd": ["/bin/sh"] },
  "rootfs": { "type": "layers", "diff_ids": ["sha256:$layer"] } }
END
echo '[{ "Config": "config.json", "RepoTags": ["small:latest"], "Layers": ["layer.tar"] }]' > "$image/manifest.json"
tar -C "$image" -cf "$folder/image.tar" manifest.json config.json layer.tar
msb load -q -i "$folder/image.tar"

# Guests live on without who made them, and exec waits for them.
trap 'msb stop --force first branch second > "$folder/stop.txt" 2>&1 || true' EXIT
msb create --name first -c 2 -m 256M small:latest
msb exec first -- sh -c 'nproc; grep -c hypervisor /proc/cpuinfo; dmesg' > "$folder/boot.txt"
echo "E cpus $(head -n 2 "$folder/boot.txt" | tr '\n' ' ')"
echo "E hypervisor $(grep -o 'Hypervisor detected: .*' "$folder/boot.txt")"
# It goes on in all that come from this guest.
msb exec first -- sh -c 'echo kept > /tmp/memory; (while sleep 1; do :; done) < /dev/null > /dev/null 2>&1 &'
msb pause first
msb resume first
msb snapshot create --full --from-sandbox first whole
msb branch --name branch first
msb exec first -- sh -c 'echo changed > /tmp/memory'
msb stop first
echo "E branch $(msb exec branch -- cat /tmp/memory)"
msb stop branch
msb restore --name second first:whole
msb exec second -- sh -c 'cat /tmp/memory; ps | grep -q " sleep 1$" && echo runs; dmesg' > "$folder/restored.txt"
echo "E restored $(head -n 2 "$folder/restored.txt" | tr '\n' ' ')"
echo "E entropy $(grep -o 'crng reseeded due to virtual machine fork' "$folder/restored.txt")"
msb stop second
echo "E done"
