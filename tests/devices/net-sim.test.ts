import { afterAll, describe, expect, it } from "vitest";
import { kernels, workFolder } from "../boot/support/guests.js";
import { LEASE } from "./net-support.js";
import { run } from "./support.js";

const folder = workFolder();
afterAll(() => folder.remove());

/** Two cards, each with a network of its own; echoes 256 KiB through TCP, which needs all kinds of packets. */
const script = `
${LEASE}
lease eth0
lease eth1
for host in 10.0.2.2 10.0.3.2; do
  ping -q -c 3 -W 5 $host >/dev/null && say ping-$host ok || say ping-$host failed
done
dd if=/dev/urandom of=/tmp/data bs=65536 count=4 2>/dev/null
say sent $(sha256sum </tmp/data)
say echoed $(nc 10.0.2.2 7 </tmp/data | sha256sum)
for card in eth0 eth1; do
  say $card-errors $(cat /sys/class/net/$card/statistics/*_errors | sort -u | tr '\\n' ' ')
done
say grants $(dmesg | grep -c 'not unmapped grant')
say uptime $(cut -d ' ' -f 1 /proc/uptime)
poweroff -f
`;

describe.each(kernels)("network cards of Debian's kernel %s", (name) => {
  it("get addresses, ping and echo through a scripted network", async () => {
    const ended = await run(folder.path, name, script, [], ["--net", "sim", "--net", "sim"]);
    expect(ended.said).toMatchObject({
      eth0: "10.0.2.15 10.0.2.2",
      eth1: "10.0.3.15 10.0.3.2",
      "ping-10.0.2.2": "ok",
      "ping-10.0.3.2": "ok",
      "eth0-errors": "0",
      "eth1-errors": "0",
      grants: "0",
    });
    expect(ended.said["failed"]).toBeUndefined();
    expect(ended.said["echoed"]).toBe(ended.said["sent"]);
    expect(ended.status).toBe(0);
    // A card that does not follow the guest's states costs 5 s of its time at power-off.
    const down = /\[ *([\d.]+)\] .*reboot: Power down/.exec(ended.stdout);
    expect(Number(down?.[1]) - Number(ended.said["uptime"])).toBeLessThan(4);
  });
});

it("a run with a network that loses frames repeats, to the last instruction", async () => {
  const short = `
${LEASE}
lease eth0
dd if=/dev/zero of=/tmp/data bs=65536 count=1 2>/dev/null
say echoed $(nc 10.0.2.2 7 </tmp/data | wc -c)
poweroff -f`;
  const runs: { text: string; instructions: string | undefined }[] = [];
  for (let i = 0; i < 2; i++) {
    const ended = await run(folder.path, "6.12", short, [], ["--net", "sim,loss=0.05", "--stats"]);
    const instructions = /(\d+) instructions/.exec(ended.stderr)?.[1];
    runs.push({ text: ended.stdout, instructions });
    expect(ended.said).toMatchObject({ eth0: "10.0.2.15 10.0.2.2", echoed: "65536" });
  }
  expect(runs[0]?.instructions).toMatch(/^\d+$/);
  expect(runs[1]).toEqual(runs[0]);
});
