/** Debian in earnest: booted by its own GRUB from a PV disk, with a network, used as a machine is used. */
import { createHash } from "node:crypto";
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

/** MiB of the file that goes through the network: 1024 with KVM_XEN_DEVICES=all. */
const MEGABYTES = process.env["KVM_XEN_DEVICES"] === "all" ? 1024 : 128;
const MINUTES = 60_000;
const canRun = machineHas("the programs that make and reach a Debian");

const folder = workFolder();
let debian: DebianFiles;
let server: Server;
let port: number;

/** Bytes that follow from their place: the file needs no room here. */
function* pieces(): Generator<Buffer> {
  for (let i = 0; i < MEGABYTES; i++) {
    const block = Buffer.alloc(1 << 20);
    for (let at = 0; at < block.length; at += 4)
      block.writeUInt32LE((at * 2654435761 + i) >>> 0, at);
    yield block;
  }
}

function checksum(): string {
  const hash = createHash("md5");
  for (const piece of pieces()) hash.update(piece);
  return hash.digest("hex");
}

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
        if (!response.write(value)) return void response.once("drain", more);
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
    const source = '#include <stdio.h>\nint main(void) { printf("%d\\n", 6 * 7); }\n';
    await ssh.must(`cat >/tmp/a.c <<'END'\n${source}END`);
    expect(await ssh.must("gcc -O2 -o /tmp/a /tmp/a.c && /tmp/a")).toBe("42");

    // The archive, through the network.
    const apt = "DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0";
    await ssh.must("apt-get -qq update");
    await ssh.must(`${apt} install -y --no-install-recommends wget >/dev/null 2>&1`);

    // A large file, through the network, with its checksum.
    const got = await ssh.must(`wget -q -O - http://10.0.2.2:${port}/file | md5sum`);
    expect(got).toBe(`${checksum()}  -`);

    // A disk that gives back what was written.
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

it.runIf(canRun)(
  "what sqlite has committed survives SIGKILL of the monitor",
  async () => {
    const image = copyImage(debian.image, join(folder.path, "killed.img"));
    let last = 0;
    for (let round = 0; round < 4; round++) {
      const words = ["--memory", "512M", "--append", "init=/bin/bash"];
      const cli = new Cli(["run", "--direct", "--disk", image, ...words]);
      await cli.waitFor(/root@\S+:\/# /);
      await atConsole(cli, "stty -echo; mount -o remount,rw / && mkdir -p /root && cd /root");
      const pragmas = "PRAGMA synchronous=extra; PRAGMA journal_mode=delete;";
      const found = await atConsole(
        cli,
        `sqlite3 db '${pragmas} PRAGMA integrity_check; CREATE TABLE IF NOT EXISTS t (n INTEGER PRIMARY KEY, s TEXT); SELECT count(*), ifnull(max(n), 0) FROM t;'`,
      );
      const [, , count = "-1", most = "-1"] = /(ok)\s+(\d+)\|(\d+)$/.exec(found) ?? [];
      // Without a hole; and one commit may be there that there was no time to tell of.
      expect(count, found).toBe(most);
      expect(Number(most)).toBeGreaterThanOrEqual(last);
      if (round === 3) {
        cli.type("sync; mount -o remount,ro /; echo o >/proc/sysrq-trigger\n");
        expect((await cli.ended()).status).toBe(0);
        break;
      }
      const start = cli.output.length;
      const first = Number(most) + 1;
      cli.type(
        `n=${first}; while :; do echo "INSERT INTO t VALUES ($n, hex(randomblob(500))); SELECT 'commit' || ' $n.';"; n=$((n + 1)); done | sqlite3 -cmd "${pragmas}" db\n`,
      );
      await cli.waitFor(new RegExp(`commit ${first + 3 + 5 * round}\\.`), start);
      cli.kill("SIGKILL");
      await cli.ended();
      const told = [...cli.output.slice(start).matchAll(/commit (\d+)\./g)];
      last = Number(told.at(-1)?.[1]);
      expect(last).toBeGreaterThanOrEqual(first + 3);
    }
    expect(fsck(fileSystemOf(image))).toBe("");
  },
  10 * MINUTES,
);
