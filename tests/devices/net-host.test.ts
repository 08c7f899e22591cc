/** `--net passt` and `--net tap=NAME`: the networks of the host behind the cards of stock guests. */
import { createHash } from "node:crypto";
import { afterAll, afterEach, expect, it } from "vitest";
import { machineHas } from "../../tools/check/machine.mjs";
import { Cli, type Ended, runCli } from "../boot/support/cli.js";
import { type KernelName, kernels, workFolder } from "../boot/support/guests.js";
import { LEASE } from "./net-support.js";
import { OwnNetwork } from "./own-network.js";
import { guestArguments, said } from "./support.js";

const BYTES = 3 << 20;
const sum = createHash("sha256").update(Buffer.alloc(BYTES, "network")).digest("hex");

const folder = workFolder();
let network: OwnNetwork | undefined;
afterEach(() => network?.remove());
afterAll(() => folder.remove());

/** What a guest does that has its address: a file both ways, and it is reached itself. */
const work = (server: string): string => `
say file $(wget -q -O - http://${server}/ | tee /tmp/file | sha256sum)
say posted $(wget -q -O - --post-file /tmp/file http://${server}/)
say listening
echo inside | nc -l -p 22
poweroff -f`;

async function start(
  own: OwnNetwork,
  kernel: KernelName,
  script: string,
  net: string,
): Promise<Cli> {
  const args = await guestArguments(folder.path, kernel, script, "real");
  const cli = new Cli([...args, "--net", net], (command) => own.wrap(command));
  cli.endInput();
  return cli;
}

/** Asks the guest, and waits for its end. */
async function finish(cli: Cli, own: OwnNetwork, address: string, port: number): Promise<Ended> {
  await cli.waitFor(/E listening/);
  expect(await own.ask(address, port)).toBe("inside\n");
  return cli.ended();
}

const hasPasst = machineHas("the program passt") && machineHas("a network of its own");
it.runIf(hasPasst).each(kernels)(
  "passt gives Linux %s the host's address, leads it out, and the host in",
  async (kernel) => {
    // Of a pair of interfaces one is the host's way out. The server has another address of the same machine: 192.0.2.2
    // is also the guest's own.
    const own = await OwnNetwork.create(`
      ip link set lo up
      ip link add out type veth peer name far
      ip address add 192.0.2.2/24 dev out
      ip address add 198.51.100.1/32 dev lo
      ip link set far up; ip link set out up
      ip route add default via 192.0.2.1`);
    network = own;
    await own.serve("198.51.100.1", BYTES);
    const script = `${LEASE}\nlease eth0\n${work("198.51.100.1")}`;
    const cli = await start(own, kernel, script, "passt,hostfwd=tcp:127.0.0.1:2222-:22");
    const ended = await finish(cli, own, "127.0.0.1", 2222);
    expect(said(ended)).toMatchObject({
      eth0: "192.0.2.2 192.0.2.1",
      file: `${sum} -`,
      posted: sum,
    });
    expect([ended.status, ended.stderr, said(ended)["failed"]]).toEqual([0, "", undefined]);
  },
);

const hasTap = machineHas("interfaces of its own (/dev/net/tun)");
it.runIf(hasTap)(
  "a card with an interface of the host reaches the host by it, and is reached",
  async () => {
    const own = await OwnNetwork.create(`
    ip link set lo up
    ip tuntap add vm0 mode tap
    ip address add 192.0.2.1/24 dev vm0
    ip link set vm0 up`);
    network = own;
    await own.serve("192.0.2.1", BYTES);
    const script = `
load xen-netfront
wait_for /sys/class/net/eth0
ip address add 192.0.2.15/24 dev eth0
ip link set eth0 up
${work("192.0.2.1")}`;
    const cli = await start(own, "6.12", script, "tap=vm0");
    const ended = await finish(cli, own, "192.0.2.15", 22);
    expect(said(ended)).toMatchObject({ file: `${sum} -`, posted: sum });
    expect([ended.status, ended.stderr, said(ended)["failed"]]).toEqual([0, "", undefined]);
  },
);

it.runIf(hasTap)(
  "an interface that is missing is made for the machine, and one in use is refused",
  async () => {
    const own = await OwnNetwork.create("ip link set lo up");
    network = own;
    const script = `
load xen-netfront
wait_for /sys/class/net/eth0
ip address add 192.0.2.15/24 dev eth0
ip link set eth0 up
say up
read line
poweroff -f`;
    const args = await guestArguments(folder.path, "6.1", script, "real");
    const there = (words: readonly string[]) => own.wrap(words);
    const first = new Cli([...args, "--net", "tap=made0"], there);
    await first.waitFor(/E up/);
    const second = await runCli([...args, "--net", "tap=made0"], there);
    expect(second.stderr).toBe("kvm-xen: --net tap=made0: another program uses it\n");
    expect(second.status).toBe(1);
    first.type("\n");
    expect((await first.ended()).status).toBe(0);
    // It is gone with its machine.
    expect(await own.output("ip", "-o", "link")).not.toContain("made0");
  },
);
