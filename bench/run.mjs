// @ts-check
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { ProgressLine } from "../dist/hosts/node/progress-line.js";
import { boots } from "./boots.mjs";
import { breakpoints } from "./breakpoints.mjs";
import { browser } from "./browser.mjs";
import { devices } from "./devices.mjs";
import { events } from "./events.mjs";
import { execRoundTrips } from "./exec.mjs";
import { GuestRuns } from "./guest-runs.mjs";
import { inspector } from "./inspector.mjs";
import { ioctls } from "./ioctls.mjs";
import { monitors } from "./monitors.mjs";
import { programs } from "./programs.mjs";
import { starts } from "./starts.mjs";
import { userland } from "./userland.mjs";
import { vms } from "./vms.mjs";

const USAGE = `npm run bench -- [SECTION]... [--runs N] [--kernel FILE]... [--full] [--only NAME]...
Measures and prints medians. It judges nothing. Sections, all but starts, monitors, breakpoints, programs, browser, inspector, userland and devices by default:
  events          event channel sends through the API and round trips in the guest, per second,
                  next to the three atomic operations they need at least (needs gcc)
  exec            calls of a client under \`kvm-xen exec\`, there and back (needs gcc)
  ioctls          the common ioctls in this process
  vms             resident memory that 1, 10 and 50 tiny VMs cost, here and under \`kvm-xen exec\` (needs gcc)
  boots           kernels to a marker in their initramfs, here and in QEMU (software emulation)
                  when that is installed: seconds, instructions and MIPS
  starts          \`npm start\` until a key is answered: by a boot, and from its snapshot (10 times, or --runs)
  monitors        the same guest in QEMU, under \`kvm-xen exec\` with KVM and with Xen, and by QEMU's own processor:
                  the installed QEMU, and QEMU 10 if \`npm run test:monitors\` has fetched it
  breakpoints     the same guest in the installed QEMU under \`kvm-xen exec\`, with gdb's stub: without a breakpoint, with
                  one that is never hit, and with one that is hit 10,000 times
  programs        guest-bench.c, each program in a fresh guest, here, in QEMU and natively; built for 64 and for 32 bits
                  (needs gcc, and gcc-multilib for the latter)
  browser         the boot and some of the programs in a page in Chromium, and in Node, in turns (needs chromium)
  inspector       what a viewer of --inspect costs the machine's process, attached and idle and with a panel open: processor time,
                  in pairs of turns with it and without (20, or --runs)
  userland        what people run: gcc, Python, gzip, xz, openssl, sqlite, node, in a whole Debian, here and in QEMU
                  (needs what \`kvm-xen image\` needs, and two minutes once)
  devices         disk and network of a whole Debian: dd, fio, TCP both ways, here, in QEMU with virtio, and in QEMU 10's
                  Xen under exec if \`npm run test:monitors\` has fetched it (needs the same)
Options:
  --runs N        how often (3)
  --only NAME     only the rows of events, programs, browser, userland and devices with that name; may be repeated
  --kernel FILE   a bzImage; default: Debian's newest cloud kernel, as \`npm start\` fetches it
  --node FILE     the Node that runs kvm-xen in boots, programs, userland and devices (this one)
  --full          with the kernel's cryptography self-tests, two thirds of such a boot`;

const DEFAULT = ["events", "exec", "ioctls", "vms", "boots"];
const SECTIONS = [
  "events",
  "exec",
  "ioctls",
  "vms",
  "boots",
  "starts",
  "monitors",
  "breakpoints",
  "programs",
  "browser",
  "inspector",
  "userland",
  "devices",
];

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    kernel: { type: "string", multiple: true },
    runs: { type: "string" },
    full: { type: "boolean", default: false },
    only: { type: "string", multiple: true, default: [] },
    node: { type: "string", default: process.execPath },
    help: { type: "boolean", default: false },
  },
});
const unknown = positionals.filter((name) => !SECTIONS.includes(name));
if (options.help || unknown.length > 0) {
  if (unknown.length > 0) console.log(`No section ${unknown.join(", ")}.\n`);
  console.log(USAGE);
  process.exit(unknown.length > 0 ? 2 : 0);
}

const sections = positionals.length > 0 ? positionals : DEFAULT;
const runs = Number(options.runs ?? 3);
const { only, full, kernel: kernels, node } = options;
const progress = new ProgressLine(process.stderr);
if (sections.includes("events")) await events({ runs, only }, progress);
if (sections.includes("exec")) execRoundTrips(runs, progress);
if (sections.includes("ioctls")) await ioctls();
if (sections.includes("vms")) vms(runs, progress);
const needsFolder = ["boots", "starts", "monitors", "breakpoints", "programs", "browser"].some(
  (name) => sections.includes(name),
);
if (needsFolder) {
  const folder = mkdtempSync(join(tmpdir(), "kvm-xen-bench-"));
  process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
  if (["boots", "programs", "browser"].some((name) => sections.includes(name))) {
    const guests = await GuestRuns.create(folder, { kernels, runs, full, only, node }, progress);
    if (sections.includes("boots")) await boots(guests, runs, progress);
    if (sections.includes("programs")) await programs(guests, folder, { runs, only }, progress);
    if (sections.includes("browser")) await browser(guests, folder, { runs, only }, progress);
  }
  if (sections.includes("starts"))
    await starts({ folder, runs: Number(options.runs ?? 10) }, progress);
  if (sections.includes("monitors")) await monitors({ folder, runs, full }, progress);
  if (sections.includes("breakpoints")) await breakpoints({ folder, runs, full }, progress);
}
if (sections.includes("inspector"))
  await inspector({ pairs: Number(options.runs ?? 20) }, progress);
if (sections.includes("userland")) await userland({ runs, only, node }, progress);
if (sections.includes("devices")) await devices({ runs, only, node }, progress);
