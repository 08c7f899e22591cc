import { createServer } from "node:http";

/** A port that is free at the moment. */
export async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve) => probe.listen(0, "127.0.0.1", resolve));
  const { port } = probe.address() as { port: number };
  await new Promise((resolve) => probe.close(resolve));
  return port;
}

/** Words for the scripts of guests with network cards. */

/** `lease CARD`: gets an address by DHCP, and says it as `CARD`. */
export const LEASE = `
cat >/bin/dhcp-event <<'END'
#!/bin/sh
[ "$1" = bound ] || exit 0
ip address add "$ip/$mask" dev "$interface"
ip route add default via "$router" dev "$interface" 2>/dev/null
for server in $dns; do echo "nameserver $server"; done >/etc/resolv.conf
echo "E $interface $ip $router"
END
chmod 755 /bin/dhcp-event
mkdir -p /etc
lease() {
  wait_for /sys/class/net/$1 || return 1
  ip link set $1 up
  udhcpc -q -n -A 1 -i $1 -s /bin/dhcp-event 2>/dev/null || say failed "no lease for $1"
}
load xen-netfront
ip link set lo up
`;
