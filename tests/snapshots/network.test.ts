/** What a restored guest finds of the user network that it had. */
import { createServer, type Server } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { guestInitramfs, readGuestKernel } from "../../src/hosts/node/guest-initramfs.js";
import type { createMachine, NetOption } from "../../src/hosts/node/index.js";
import { debianGuest, workFolder } from "../boot/support/guests.js";
import { ShellMachine } from "./shell-machine.js";

const built = new URL("../../dist/hosts/node/index.js", import.meta.url).href;
const folder = workFolder();
let server: Server;
let port: number;
/** What has come, by connection. */
const received: string[] = [];

beforeAll(async () => {
  server = createServer((socket) => {
    const n = received.push("") - 1;
    socket.on("data", (bytes) => {
      received[n] = `${received[n]}${bytes}`;
      socket.write(`seen ${bytes}`);
    });
    socket.on("error", () => undefined);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  ({ port } = server.address() as { port: number });
});
afterAll(() => {
  server.close();
  folder.remove();
});

it("old connections are reset, while the address, its lease and new connections go on", async () => {
  const networks: NetOption[] = [{ kind: "user", forwards: [], hostLoopback: true }];
  // Another try may have been before.
  received.length = 0;
  const node: { createMachine: typeof createMachine } = await import(built);
  const guest = await debianGuest();
  const description = {
    kernel: await readGuestKernel(guest),
    initrd: await guestInitramfs(guest, ["xen-netfront"]),
    commandLine: "cryptomgr.notests quiet KX_DHCP=1",
    networks,
  };
  const machine = await ShellMachine.start(description, node.createMachine);
  await machine.waitFor(/ # /);
  const address = "ip -4 -o address show eth0 | sed 's/.*inet //; s/ .*//'";
  await machine.run(`until ${address} | grep -q .; do sleep 0.1; done; echo`);
  expect(await machine.run(address)).toBe("10.0.2.15/24");
  // What is written to /tmp/in is sent; what comes is in /tmp/out, and /tmp/end is there when the connection has ended.
  await machine.run("mkfifo /tmp/in; echo");
  const client = `nc 10.0.2.2 ${port} < /tmp/in > /tmp/out`;
  await machine.run(`(${client}; touch /tmp/end) & exec 5> /tmp/in; echo`);
  await machine.run("echo one >&5; until [ -s /tmp/out ]; do sleep 0.1; done; echo");
  const file = join(folder.path, "connected");
  await machine.saveAs(file);
  await machine.stop();
  expect(received).toEqual(["one\n"]);

  const again = await ShellMachine.start({ restore: file, networks }, node.createMachine);
  // EstabResets (RFC 4022): connections that a reset has ended, in this kernel's life.
  const resets =
    "sed -n 's/^Tcp: [0-9-]* [0-9]* [0-9]* [0-9-]* [0-9]* [0-9]* [0-9]* \\([0-9]*\\) .*/\\1/p' /proc/net/snmp";
  expect(await again.run(resets)).toBe("0");
  await again.run("echo two >&5; until [ -e /tmp/end ]; do sleep 0.1; done; echo");
  expect(await again.run(resets)).toBe("1");
  expect(await again.run(address)).toBe("10.0.2.15/24");
  expect(await again.run("ping -q -c 1 10.0.2.2 | grep -c '1 packets received'")).toBe("1");
  expect(await again.run("udhcpc -n -q -i eth0 -s /bin/dhcp-event 2>&1 | tail -n 1")).toMatch(
    /^udhcpc: lease of 10\.0\.2\.15 obtained from 10\.0\.2\.2/,
  );
  expect(await again.run(`echo three | nc -w 2 10.0.2.2 ${port}`)).toBe("seen three");
  await again.stop();
  expect(received).toEqual(["one\n", "three\n"]);
});
