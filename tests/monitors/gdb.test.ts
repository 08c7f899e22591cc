import { execFile } from "node:child_process";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Kernel } from "./support/guest.js";
import { Bench, checkGuest, checkKvm, runs } from "./support/machine.js";
import { Monitor, said } from "./support/monitor.js";
import { installedQemu, kernel } from "./support/packages.js";

const run = promisify(execFile);
let bench: Bench;
let linux: Kernel;
const qemu = installedQemu().words;

beforeAll(async () => {
  bench = await Bench.open();
  linux = await kernel("6.1");
});
afterAll(() => bench.close());

const SYMBOLS = [
  "start_kernel",
  "__x64_sys_sethostname",
  "asm_exc_double_fault",
  "init_uts_ns",
] as const;
type Addresses = Readonly<Record<(typeof SYMBOLS)[number], bigint>>;
/** How often the guest changes its name. */
const NAMES = 50;

/** The addresses that the guest's own kernel names, as one that stays where it was linked has them. */
async function addresses(): Promise<Addresses> {
  const script = `for name in ${SYMBOLS.join(" ")}; do
  say "$name" "$(sed -n "s/^\\([0-9a-f]*\\) . $name$/\\1/p" /proc/kallsyms)"
done
say done
poweroff -f
`;
  const guest = await bench.guest(linux, { script, modules: [] }, "nokaslr");
  const ended = await runs([...qemu, "-accel", "kvm", "-M", "q35", ...guest]);
  checkGuest(ended, { start_kernel: /^ffffffff8/ });
  const found = said(ended.console);
  // The kernel may write to the console in the middle of a line of ours.
  const address = (name: string) => BigInt(`0x${/^[0-9a-f]+/.exec(found[name] ?? "")?.[0]}`);
  return Object.fromEntries(SYMBOLS.map((name) => [name, address(name)])) as Addresses;
}

const hex = (value: bigint) => `0x${value.toString(16)}`;
/** Of a system call's entry, which gets struct pt_regs: its first argument, a text. */
const ARGUMENT = "*(char **)($rdi + 0x70)";

/** What gdb does: lines "G NAME VALUE" for the test to read. */
function commands(socket: string, at: Addresses): string {
  const nodename = hex(at.init_uts_ns + 65n);
  return `set pagination off
set confirm off
set architecture i386:x86-64
target remote ${socket}
printf "G reset %#lx\\n", $rip
hbreak *${hex(at.start_kernel)}
continue
printf "G start %#lx\\n", $rip
delete
# Never hit; while it is there the guest's own INT3 go through QEMU, those of the kernel's self-test among them.
break *${hex(at.asm_exc_double_fault)}
hbreak *${hex(at.__x64_sys_sethostname)}
continue
delete
# Now that ftrace has written its last there: it would write over a breakpoint in memory.
break *${hex(at.__x64_sys_sethostname)}
printf "G first %#lx %s\\n", $rip, ${ARGUMENT}
printf "G before %s\\n", (char *)${nodename}
x/2i $pc
stepi
printf "G stepped %#lx\\n", $rip
stepi
stepi
watch *(char *)${nodename}
set $wpnum = $bpnum
continue
printf "G watched %c\\n", *(char *)${nodename}
delete $wpnum
set $count = 1
while $count < ${NAMES}
  continue
  set $count = $count + 1
  printf "G again %#lx %s %s\\n", $rip, ${ARGUMENT}, (char *)${nodename}
end
delete
detach
`;
}

describe("gdb at QEMU's stub, with KVM under exec", () => {
  it("stops at the first instruction, at breakpoints of both kinds, steps and watches", async () => {
    const at = await addresses();
    const script = `for i in $(seq ${NAMES}); do hostname "name$i"; done
say name "$(hostname)"
say done
poweroff -f
`;
    const guest = await bench.guest(linux, { script, modules: [] }, "nokaslr");
    const socket = join(bench.folder, "gdb.socket");
    const stub = ["-gdb", `unix:${socket},server=on,wait=off`, "-S"];
    const machine = ["-accel", "kvm", "-M", "q35", "-smp", "2"];
    const monitor = new Monitor([...qemu, ...machine, ...stub, ...guest]);
    while (!existsSync(socket)) await new Promise((resolve) => setTimeout(resolve, 100));
    const file = join(bench.folder, "commands.gdb");
    writeFileSync(file, commands(socket, at));
    const { stdout, stderr } = await run("gdb", ["-nx", "-batch", "-x", file]);
    const told = (name: string) =>
      [...stdout.matchAll(new RegExp(`^G ${name} (.*)$`, "gm"))].map((match) => match[1]);
    const context = `${stdout}\n${stderr}`;
    const entry = hex(at.__x64_sys_sethostname);
    expect(told("reset"), context).toEqual(["0xfff0"]);
    expect(told("start"), context).toEqual([hex(at.start_kernel)]);
    expect(told("first"), context).toEqual([`${entry} name1`]);
    expect(told("before"), context).toEqual(["(none)"]);
    // The instruction behind the first one, as gdb itself decodes it.
    const second = /^=> .*\n +(0x[0-9a-f]+)/m.exec(stdout)?.[1];
    expect(told("stepped"), context).toEqual([second]);
    expect(stdout, context).toMatch(/^Old value = 40 '\('$\n^New value = 110 'n'$/m);
    expect(told("watched"), context).toEqual(["n"]);
    expect(told("again"), context).toEqual(
      Array.from({ length: NAMES - 1 }, (_, i) => `${entry} name${i + 2} name${i + 1}`),
    );
    const ended = await monitor.ended;
    checkKvm(ended);
    checkGuest(ended, { name: `name${NAMES}` });
  });
});
