// @ts-check
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cachedFolder, cacheRoot } from "../dist/hosts/node/cache.js";
import { openDisk } from "../dist/hosts/node/open-disk.js";
import { readBootFiles } from "../dist/vmm/machine/index.js";
import { QEMU_10, unpackedQemu } from "../tools/debian/unpacked-qemu.mjs";
import { profileIn } from "./devices/profile.mjs";
import { median, table } from "./guests.mjs";

const MARKER = "devices-marker";
const main = new URL("../dist/cli/main.js", import.meta.url).pathname;
const script = new URL("devices/run.sh", import.meta.url).pathname;
const QEMU = "qemu-system-x86_64";
/** A guest that has not done everything by then has hung. */
const LIMIT_MS = 900_000;
const DATA_BYTES = 512 << 20;
const TCP_BYTES = 256 << 20;

/**
 * What one row took: `cpu` seconds of all processes of the machine, `instructions` where they are counted; and when it began and
 * ended, by the monotonic clock.
 * @typedef {{ seconds: number, bytes: number, cpu: number, instructions: number | undefined, from: bigint, to: bigint }} Result
 * @typedef {{ name: string, words: string[], control?: string }} Column
 */

/**
 * Disk and network of a Debian guest: here, in QEMU's software emulation with virtio, and in QEMU 10's emulation of Xen under
 * exec. The data is in the host's page cache.
 * @param {{ runs: number, only: string[], node: string }} options
 * @param {import("../dist/hosts/node/progress-line.js").ProgressLine} progress
 */
export async function devices({ runs, only, node }, progress) {
  const folder = mkdtempSync(join(tmpdir(), "kvm-xen-devices-"));
  const peer = await openPeer();
  try {
    const image = debian(progress);
    const make = (/** @type {string[]} */ rows, /** @type {string[]} */ nodeWords) =>
      machines(folder, image, rows, [node, ...nodeWords], peer.ports);
    const columns = await make(only, []);
    /** @type {Map<string, Result[]>[]} */
    const measured = columns.map(() => new Map());
    for (let i = 0; i < runs; i++) {
      for (const [at, column] of columns.entries()) {
        const step = (/** @type {string} */ row) =>
          progress.step(`devices, ${column.name}, ${i + 1} of ${runs}: ${row}`);
        step("boot");
        for (const [what, result] of await measure(column, step)) {
          measured[at]?.set(what, [...(measured[at]?.get(what) ?? []), result]);
        }
      }
    }
    const slow = print(columns, measured, runs);
    if (slow.length === 0) return;
    progress.step("devices: profile of the slower rows");
    const profiles = join(folder, "profiles");
    const words = ["--cpu-prof", `--cpu-prof-dir=${profiles}`];
    const [ours] = await make(slow, words);
    const results = await measure(/** @type {Column} */ (ours), () => undefined);
    progress.end();
    const profile = profileIn(profiles);
    console.log("Slower than virtio in QEMU; where the main thread is meanwhile:");
    for (const [what, { from, to }] of results) console.log(`  ${what}: ${profile(from, to)}`);
  } finally {
    peer.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Who sends to each that connects to one port, and takes what comes at the other one. */
async function openPeer() {
  const piece = Buffer.alloc(1 << 20, "network");
  const sender = createServer((socket) => {
    let left = TCP_BYTES;
    const more = () => {
      while (left > 0) {
        left -= piece.length;
        if (!socket.write(piece)) return void socket.once("drain", more);
      }
      socket.end();
    };
    socket.on("error", () => undefined);
    more();
  });
  const taker = createServer((socket) => void socket.on("error", () => undefined).resume());
  const ports = [];
  for (const server of [sender, taker]) {
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    ports.push(/** @type {import("node:net").AddressInfo} */ (server.address()).port);
  }
  return { ports, close: () => [sender, taker].forEach((server) => void server.close()) };
}

/**
 * A Debian with fio, made once.
 * @param {import("../dist/hosts/node/progress-line.js").ProgressLine} progress
 */
function debian(progress) {
  const folder = join(cacheRoot(), "bench");
  const image = join(folder, "devices.img");
  if (existsSync(image)) return image;
  mkdirSync(folder, { recursive: true });
  progress.step("making a Debian with fio");
  const words = ["image", "--include", "fio,kmod", "--size", "2G", "-o", image];
  execFileSync(process.execPath, [main, ...words]);
  return image;
}

/**
 * @param {string} folder
 * @param {string} image of Debian
 * @param {string[]} only
 * @param {string[]} node that runs kvm-xen, with its own options
 * @param {number[]} ports
 * @returns {Promise<Column[]>}
 */
async function machines(folder, image, only, node, ports) {
  const at = (/** @type {string} */ name) => join(folder, name);
  const disk = await openDisk(image, { readonly: true });
  const boot = await readBootFiles(disk, "xvda");
  await disk.close();
  writeFileSync(at("kernel"), boot.kernel);
  writeFileSync(at("initrd"), boot.initrd ?? "");
  writeFileSync(at("data"), Buffer.alloc(DATA_BYTES, "a disk's"));
  mkdirSync(at("scripts"), { recursive: true });
  writeFileSync(at("scripts/run.sh"), readFileSync(script));
  execFileSync("mke2fs", ["-q", "-t", "ext4", "-d", at("scripts"), at("script.img"), "4M"]);
  const append = (/** @type {string} */ name) => {
    const [root, data, text] = [`/dev/${name}a1`, `/dev/${name}b`, `/dev/${name}c`];
    const args = [data, ...ports, ...only].join(" ");
    const start = `mount -o ro ${text} /mnt; exec bash /mnt/run.sh ${args}`;
    return `root=${root} rw quiet cryptomgr.notests panic=-1 init=/bin/bash -- -c "${start}"`;
  };
  const disks = [`${image},snapshot`, at("data"), `${at("script.img")},ro`];
  const control = at("control");
  const ours = [
    ...[...node, main, "run", "--direct", ...disks.flatMap((one) => ["--disk", one])],
    ...["--net", "user,hostloopback=on", "--memory", "512M", "--control", control],
    ...["--append", append("xvd")],
  ];
  const drives = (/** @type {string} */ kind) => [
    ...["-drive", `if=${kind},format=raw,snapshot=on,file=${image}`],
    ...["-drive", `if=${kind},format=raw,file=${at("data")}`],
    ...["-drive", `if=${kind},format=raw,readonly=on,file=${at("script.img")}`],
  ];
  const common = [
    ...["-m", "512", "-no-reboot", "-display", "none", "-serial", "stdio", "-monitor", "none"],
    ...["-kernel", at("kernel"), "-initrd", at("initrd"), "-append"],
  ];
  /** @type {Column[]} */
  const columns = [{ name: "kvm-xen", words: ours, control }];
  if (spawnSync(QEMU, ["--version"]).status === 0) {
    const machine = ["-accel", "tcg", "-M", "q35", "-nic", "user,model=virtio-net-pci"];
    const words = [QEMU, ...machine, ...drives("virtio"), ...common];
    columns.push({ name: "QEMU, virtio", words: [...words, `console=ttyS0 ${append("vd")}`] });
  }
  const ten = cachedFolder(cacheRoot(), QEMU_10);
  if (ten !== undefined) {
    const xen = "kvm,xen-version=0x40011,kernel-irqchip=split";
    const machine = ["-accel", xen, "-M", "pc", "-nic", "user,model=xen-net-device"];
    const words = [...node, main, "exec", "--", ...unpackedQemu(ten), ...machine];
    const rest = [...drives("xen"), ...common, `console=ttyS0 ${append("xvd")}`];
    columns.push({ name: "QEMU 10, Xen under exec", words: [...words, ...rest] });
  }
  return columns;
}

/**
 * One run of a machine.
 * @param {Column} column
 * @param {(row: string) => void} onRow
 * @returns {Promise<Map<string, Result>>}
 */
async function measure({ name, words: [program = "", ...args], control }, onRow) {
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] });
  /** @type {Map<string, Result>} */
  const results = new Map();
  let [output, messages] = ["", ""];
  /** @type {Promise<{ cpu: number, instructions: number | undefined }> | undefined} */
  let before;
  let isOver = false;
  let begun = 0n;
  const now = async () => ({
    cpu: cpuSeconds(child.pid ?? 0),
    instructions: control === undefined ? undefined : await instructions(control),
  });
  /** @param {string} line */
  const hear = async (line) => {
    if (line.startsWith("S ")) {
      before = now();
      begun = process.hrtime.bigint();
      onRow(line.slice(2));
    }
    if (line.includes(MARKER)) isOver = true;
    const [, what = "", us, bytes] = /^T (\S+) (\d+) (\d+)/.exec(line) ?? [];
    if (what === "" || before === undefined) return;
    const [first, then, began, ended] = [before, now(), begun, process.hrtime.bigint()];
    const [from, to] = [await first, await then];
    const did = (to.instructions ?? 0) - (from.instructions ?? 0);
    results.set(what, {
      ...{ seconds: Number(us) / 1e6, bytes: Number(bytes), cpu: to.cpu - from.cpu },
      instructions: control === undefined ? undefined : did,
      // Behind the line that tells of it, the guest sleeps for a second.
      ...{ from: began + 1_000_000_000n, to: ended },
    });
  };
  let rest = "";
  child.stdout.setEncoding("utf8").on("data", (/** @type {string} */ text) => {
    output += text;
    const lines = (rest + text).split(/\r?\n/);
    rest = lines.pop() ?? "";
    for (const line of lines) void hear(line);
  });
  child.stderr.setEncoding("utf8").on("data", (text) => {
    messages += text;
  });
  const limit = setTimeout(() => child.kill("SIGKILL"), LIMIT_MS);
  await once(child, "close");
  clearTimeout(limit);
  if (!isOver) throw new Error(`${name} did not finish:\n${output.slice(-1500)}${messages}`);
  return results;
}

/** Instructions of a machine so far. @param {string} path its control socket @returns {Promise<number>} */
async function instructions(path) {
  const socket = connect(path);
  socket.write('{"id":1,"method":"status"}\n');
  let text = "";
  for await (const piece of socket) {
    text += piece;
    if (text.includes("\n")) break;
  }
  return JSON.parse(text).result.instructions;
}

/**
 * Processor time of a process and all that come from it, in seconds.
 * @param {number} root
 */
function cpuSeconds(root) {
  /** @type {Map<number, { parent: number, ticks: number }>} */
  const all = new Map();
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    let text = "";
    try {
      text = readFileSync(`/proc/${name}/stat`, "utf8");
    } catch {
      // It has ended meanwhile.
      continue;
    }
    const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
    all.set(Number(name), {
      parent: Number(fields[1]),
      ticks: Number(fields[11]) + Number(fields[12]),
    });
  }
  let ticks = 0;
  const members = [root];
  for (const pid of members) {
    ticks += all.get(pid)?.ticks ?? 0;
    for (const [other, { parent }] of all) if (parent === pid) members.push(other);
  }
  return ticks / 100;
}

/**
 * @param {Column[]} columns
 * @param {Map<string, Result[]>[]} measured
 * @param {number} runs
 * @returns {string[]} rows in which the first column is slower than virtio in QEMU
 */
function print(columns, measured, runs) {
  /** @type {string[]} */
  const slow = [];
  const rows = [["", "", "MB/s", "wall s", "host CPU s", "guest instructions", "wall : virtio"]];
  for (const what of measured[0]?.keys() ?? []) {
    const middle = (/** @type {number} */ at, /** @type {(one: Result) => number} */ value) =>
      median((measured[at]?.get(what) ?? []).map(value));
    const reference = columns.findIndex(({ name }) => name.includes("virtio"));
    for (const [at, { name, control }] of columns.entries()) {
      const seconds = middle(at, (one) => one.seconds);
      const ratio = seconds / middle(reference, (one) => one.seconds);
      if (at === 0 && ratio > 1) slow.push(what);
      const speed = middle(at, (one) => one.bytes / one.seconds / 1e6);
      const count = middle(at, (one) => one.instructions ?? Number.NaN);
      rows.push([
        ...[at === 0 ? what : "", name, speed.toFixed(0), seconds.toFixed(2)],
        middle(at, (one) => one.cpu).toFixed(2),
        control === undefined ? "-" : `${(count / 1e6).toFixed(0)}M`,
        ratio.toFixed(2),
      ]);
    }
  }
  console.log(`\nDisk and network of a Debian guest, median of ${runs}`);
  console.log(table(rows));
  return slow;
}
