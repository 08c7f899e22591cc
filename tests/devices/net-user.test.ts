/** `--net user`: libslirp behind the cards of stock guests, checked from the host. */
import { createHash, randomBytes } from "node:crypto";
import { createServer, type Server } from "node:http";
import { connect } from "node:net";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Cli } from "../boot/support/cli.js";
import { workFolder } from "../boot/support/guests.js";
import { freePort, LEASE } from "./net-support.js";
import { guestArguments, makeImage, said } from "./support.js";

const folder = workFolder();
const file = randomBytes(2 << 20);
const sum = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
const uploads: string[] = [];
let server: Server;
let port: number;

beforeAll(async () => {
  server = createServer((request, response) => {
    const hash = createHash("sha256");
    request.on("data", (data: Buffer) => hash.update(data));
    request.on("end", () => {
      if (request.method === "POST") uploads.push(hash.digest("hex"));
      response.end(request.method === "POST" ? "thanks\n" : file);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  port = (server.address() as { port: number }).port;
});
afterAll(() => {
  server.close();
  folder.remove();
});

/** What a server in the guest says to whoever connects; tried until it listens. */
async function ask(at: number): Promise<string> {
  for (;;) {
    const answer = await new Promise<string>((resolve) => {
      let text = "";
      const socket = connect(at, "127.0.0.1");
      socket.on("data", (data) => {
        text += data;
      });
      socket.on("error", () => undefined);
      socket.on("close", () => resolve(text));
    });
    if (answer !== "") return answer;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

it("a guest has an address, reaches the host, and is reached through a port", async () => {
  const forwarded = await freePort();
  const script = `
${LEASE}
lease eth0
ping -q -c 2 -W 10 10.0.2.2 >/dev/null && say ping ok || say ping failed
say dns $(cat /etc/resolv.conf)
say file $(wget -q -O - http://10.0.2.2:${port}/file | tee /tmp/file | sha256sum)
base64 /tmp/file >/tmp/text
say text $(sha256sum </tmp/text)
say posted $(wget -q -O - --post-file /tmp/text http://10.0.2.2:${port}/)
say listening
echo inside | nc -l -p 22
say grants $(dmesg | grep -c 'not unmapped grant')
poweroff -f`;
  const args = await guestArguments(folder.path, "6.12", script, "real");
  const net = `user,hostloopback=on,hostfwd=tcp:127.0.0.1:${forwarded}-:22`;
  const cli = new Cli([...args, "--net", net]);
  cli.endInput();
  await cli.waitFor(/E listening/);
  expect(await ask(forwarded)).toBe("inside\n");
  const ended = await cli.ended();
  expect(said(ended)).toMatchObject({
    ...{ eth0: "10.0.2.15 10.0.2.2", ping: "ok", dns: "nameserver 10.0.2.3" },
    ...{ file: `${sum(file)} -`, posted: "thanks", grants: "0" },
  });
  expect(uploads.map((one) => `${one} -`)).toEqual([said(ended)["text"]]);
  expect([ended.status, said(ended)["failed"]]).toEqual([0, undefined]);
});

it("five cards and a busy disk go on together, and the loopback interface is out of reach", async () => {
  const cards = [0, 1, 2, 3, 4];
  const script = `
${LEASE}
load xen-blkfront
wait_for /dev/xvda
for card in ${cards.join(" ")}; do lease eth$card; done
(while [ ! -e /tmp/done ]; do dd if=/dev/xvda of=/dev/null bs=1M iflag=direct 2>/dev/null; echo x >>/tmp/rounds; done) &
for round in 1 2; do
  for card in ${cards.join(" ")}; do
    ping -q -c 2 -W 20 -I eth$card 10.0.$((card + 2)).2 >/dev/null || say failed "ping of eth$card"
  done
done
touch /tmp/done
[ -s /tmp/rounds ] && say disk busy
wget -q -T 5 -O - http://10.0.2.2:${port}/file >/dev/null 2>&1 && say loopback reached || say loopback refused
poweroff -f`;
  const args = await guestArguments(folder.path, "6.1", script, "real");
  const disk = makeImage(folder.path, "busy.img", "16M");
  const cli = new Cli([...args, "--disk", disk, ...cards.flatMap(() => ["--net", "user"])]);
  cli.endInput();
  const ended = await cli.ended();
  expect(said(ended)).toMatchObject({
    ...Object.fromEntries(cards.map((n) => [`eth${n}`, `10.0.${n + 2}.15 10.0.${n + 2}.2`])),
    ...{ disk: "busy", loopback: "refused" },
  });
  expect([ended.status, said(ended)["failed"]]).toEqual([0, undefined]);
});

it("says once that a run with the virtual clock will not repeat, and refuses a port that is in use", async () => {
  const args = await guestArguments(folder.path, "6.12", "poweroff -f", "virtual");
  const virtual = new Cli([...args, "--net", "user", "--net", "user"]);
  virtual.endInput();
  const ended = await virtual.ended();
  expect(ended.stderr.match(/this run will not repeat/g)).toHaveLength(1);
  expect(ended.status).toBe(0);
  const used = new Cli([...args, "--net", `user,hostfwd=tcp:127.0.0.1:${port}-:22`]);
  used.endInput();
  const refused = await used.ended();
  expect(refused.stderr).toBe(
    `kvm-xen: --net user: tcp port ${port} of 127.0.0.1 cannot be had: another program uses it\n`,
  );
  expect(refused.status).toBe(1);
});
