/** Debian in earnest: booted by its own GRUB from a PV disk, with a network, used as a machine is used. */
import { createServer, type Server } from "node:http";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { machineHas } from "../../tools/check/machine.mjs";
import { Cli } from "../boot/support/cli.js";
import { workFolder } from "../boot/support/guests.js";
import {
  atConsole,
  copyImage,
  type DebianFiles,
  debianFiles,
  fileSystemOf,
  login,
  Ssh,
} from "./debian-support.js";
import { freePort } from "./net-support.js";
import { fsck } from "./support.js";

/** MiB of the file that goes through the network. */
const MEGABYTES = 1024;
const MINUTES = 60_000;
const canRun = machineHas("the programs that make and reach a Debian");

const folder = workFolder();
let debian: DebianFiles;
let server: Server;
let port: number;

/** Bytes that follow from their place: the file needs no room here. */
function* pieces(): Generator<Uint32Array<ArrayBuffer>> {
  for (let i = 0; i < MEGABYTES; i++) {
    const block = new Uint32Array(1 << 18);
    for (let at = 0; at < block.length; at++) block[at] = Math.imul(at, 2654435761) + i;
    yield block;
  }
}

/** In which each word counts, and where it is; a guest computes it about as fast as the file comes. */
function checksum(): string {
  let sum = 2166136261;
  for (const piece of pieces()) for (const word of piece) sum = Math.imul(sum ^ word, 16777619);
  return `${MEGABYTES << 20} ${(sum >>> 0).toString(16)}`;
}
/** The same, of what comes from the standard input. */
const CHECKSUM = `#include <stdint.h>
#include <stdio.h>
int main(void) {
  static uint32_t words[1 << 16];
  uint32_t sum = 2166136261u;
  uint64_t bytes = 0;
  for (size_t count; (count = fread(words, 1, sizeof words, stdin)) > 0; bytes += count)
    for (size_t i = 0; i < count / 4; i++) sum = (sum ^ words[i]) * 16777619u;
  printf("%llu %x\\n", (unsigned long long)bytes, sum);
}
`;

beforeAll(async () => {
  if (!canRun) return;
  debian = await debianFiles();
  server = createServer((request, response) => {
    if (request.url !== "/file") {
      response.statusCode = 404;
      response.end();
      return;
    }
    const parts = pieces();
    response.setHeader("content-length", MEGABYTES << 20);
    const more = (): void => {
      for (;;) {
        const { done, value } = parts.next();
        if (done) return void response.end();
        if (!response.write(new Uint8Array(value.buffer))) return void response.once("drain", more);
      }
    };
    more();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  port = (server.address() as { port: number }).port;
}, 15 * MINUTES);
afterAll(() => {
  server?.close();
  folder.remove();
});

const net = (forwarded: number): string =>
  `user,hostloopback=on,hostfwd=tcp:127.0.0.1:${forwarded}-:22`;

it.runIf(canRun)(
  "boots by GRUB, and is a machine that one can work in, through a reboot with another kernel",
  async () => {
    const image = copyImage(debian.image, join(folder.path, "debian.img"));
    const forwarded = await freePort();
    const options = ["--memory", "768M", "--cpus", "2", "--net", net(forwarded)];
    const cli = new Cli(["run", "--disk", image, ...options]);
    const ssh = new Ssh(forwarded, debian.key);
    const kernelsIn = () => ssh.must("ls /boot/vmlinuz-* | sort -V");

    let at = await cli.waitFor(/Linux version 6/);
    // The console: a login prompt, and a system in which nothing has failed.
    at = await login(cli, at);
    expect(await atConsole(cli, "systemctl is-system-running --wait")).toBe("running");
    expect(await atConsole(cli, "systemctl --failed --no-legend --plain")).toBe("");
    expect(await atConsole(cli, "nproc; who -m | cut -d ' ' -f 1,2; tty")).toMatch(
      /^2\n.*\/dev\/hvc0$/s,
    );
    const running = await atConsole(cli, "uname -r");

    // ssh from the host, through a forwarded port.
    const before = Date.now() / 1000;
    const clock = Number(await ssh.must("date +%s"));
    const after = Date.now() / 1000;
    expect(clock).toBeGreaterThan(before - 2);
    expect(clock).toBeLessThan(after + 2);

    // A compiler.
    await ssh.must(`cat >/tmp/sum.c <<'END'\n${CHECKSUM}END`);
    expect(await ssh.must("gcc -O2 -o /tmp/sum /tmp/sum.c && printf abcdefgh | /tmp/sum")).toBe(
      "8 3ad69deb",
    );

    // The archive, through the network.
    const apt = "DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0";
    await ssh.must("apt-get -qq update");
    await ssh.must(`${apt} install -y --no-install-recommends wget >/dev/null 2>&1`);

    // A large file, through the network, with its checksum.
    const got = await ssh.must(`wget -q -O - http://10.0.2.2:${port}/file | /tmp/sum`);
    expect(got).toBe(checksum());

    // A disk that gives back what was written, asked for as much at once as its backend takes.
    expect(await ssh.must("cat /sys/block/xvda/queue/max_hw_sectors_kb")).toBe("1024");
    const job = "--name=a --filename=/var/tmp/fio --size=24M --bs=4k --iodepth=8 --ioengine=libaio";
    const fio = await ssh.must(
      `fio ${job} --direct=1 --rw=randwrite --verify=crc32c && rm /var/tmp/fio`,
    );
    expect(fio).toMatch(/err= 0/);

    // Another kernel, by apt: its hooks make the initial RAM disk, and GRUB's configuration.
    expect(await kernelsIn()).toBe(`/boot/vmlinuz-${running}`);
    const find =
      "apt-cache search --names-only '^linux-image-6.1.0-[0-9]+-cloud-amd64$' | cut -d ' ' -f 1";
    const other = await ssh.must(`${find} | grep -v "$(uname -r)" | sort -V | tail -n 1`);
    await ssh.must(
      `${apt} install -y --no-install-recommends ${other} >/tmp/apt.log 2>&1 || { cat /tmp/apt.log; false; }`,
    );
    const release = other.replace("linux-image-", "");
    expect(await kernelsIn()).toContain(`/boot/vmlinuz-${release}`);
    expect(await ssh.must("grep -c ^menuentry /boot/grub/grub.cfg")).toBe("1");
    // The older of two is not what Debian boots: it shall be, as one says that to Debian.
    const idOf = (pattern: string) => ssh.must(`sed -n "s/${pattern}.*/\\1/p" /boot/grub/grub.cfg`);
    const menu = await idOf("^submenu.*id_option '\\([^']*\\)'");
    const entry = await idOf(`.*id_option '\\(gnulinux-${release}-advanced-[^']*\\)'`);
    await ssh.must(
      `echo 'GRUB_DEFAULT="${menu}>${entry}"' >>/etc/default/grub.d/kvm-xen.cfg && update-grub 2>/dev/null`,
    );
    await ssh.must("echo kept >~/kept");
    at = cli.output.length;
    await ssh.run("systemctl reboot");

    at = await login(cli, at);
    expect(await atConsole(cli, "uname -r; cat ~/kept")).toBe(`${release}\nkept`);
    expect(await atConsole(cli, "systemctl is-system-running --wait")).toBe("running");
    cli.type("poweroff\n");
    const ended = await cli.ended();
    expect([ended.status, ended.stderr]).toEqual([0, ""]);
    expect(fsck(fileSystemOf(image))).toBe("");
  },
  20 * MINUTES,
);
