// @ts-check

/**
 * Survivors that nobody can see, with the reason. They count as survived all the same. `line` is a part of the
 * line that they are on, where the changed text alone does not say which one is meant; without `after`, any change is meant.
 * @type {{ file: string, line?: string, before: string, after?: string, why: string }[]}
 */
export const invisible = [
  {
    file: "src/kvm/xen/delivery.ts",
    before: "info.hva + VcpuInfo.EVTCHN_UPCALL_PENDING",
    after: "info.hva - VcpuInfo.EVTCHN_UPCALL_PENDING",
    why: "the offset is 0",
  },
  {
    file: "src/kvm/xen/vcpu-xen.ts",
    before: "this.#vcpu.vcpuInfo.hva + VcpuInfo.EVTCHN_UPCALL_PENDING",
    after: "this.#vcpu.vcpuInfo.hva - VcpuInfo.EVTCHN_UPCALL_PENDING",
    why: "the offset is 0",
  },
  {
    file: "src/kvm/xen/delivery.ts",
    before: "word - 32",
    after: "word + 32",
    why: "a shift count is taken modulo 32",
  },
  {
    file: "src/kvm/xen/delivery.ts",
    before: "vcpu.shadowLow !== shadowLow || vcpu.shadowHigh !== shadowHigh",
    after: "true",
    why: "with a bit in the shadow a vCPU does not sleep, so that telling it again changes nothing",
  },
  {
    file: "src/kvm/xen/delivery.ts",
    line: "if (vcpu.upcallVector !== 0) vcpu.host.sendToLapic(vcpu.upcallVector);",
    before: "0",
    after: "1",
    why: "a vector of 1 cannot be set, and the local APIC takes no vector 0",
  },
  {
    file: "src/kvm/xen/evtchn-table.ts",
    line: "this.#lastPort = -1;",
    before: "1",
    after: "2",
    why: "-2 is no port either",
  },
  {
    file: "src/kvm/xen/timer.ts",
    line: "delta > 0n && delta >> 50n",
    before: "0n",
    after: "1n",
    why: "delta > 1 in place of delta > 0, beside a condition that delta has more than 50 bits",
  },
  {
    file: "src/kvm/xen/vcpu-xen.ts",
    before: "timerPending || (shadowLow | shadowHigh) !== 0",
    after: "true",
    why: "mayDefer only saves looking further",
  },
  {
    file: "src/kvm/xen/vm-xen.ts",
    before: "vcpu === undefined",
    after: "false",
    why: "there is a vCPU for every one of the VM: the check is the type's",
  },
  {
    file: "src/kvm/xen/delivery.ts",
    before: "layout.evtchnPending + (port >> 3)",
    after: "layout.evtchnPending - (port >> 3)",
    why: "the engine looks at the whole page of a written byte",
  },
  {
    file: "src/kvm/xen/delivery.ts",
    line: "cache.noteWrite(layout.evtchnPending + (port >> 3), 1);",
    before: "3",
    why: "the engine looks at the whole page of a written byte",
  },
  {
    file: "src/kvm/xen/delivery.ts",
    line: "cache.noteWrite(layout.evtchnPending + (port >> 3), 1);",
    before: "1",
    why: "the engine looks at the whole page of a written byte",
  },
  {
    file: "src/kvm/xen/delivery.ts",
    line: "info.noteWrite(0, VcpuInfo.TIME);",
    before: "0",
    why: "the engine looks at the whole page of a written byte",
  },
  {
    file: "src/kvm/xen/runstate.ts",
    line: "noteWrite(0, length",
    before: "0",
    why: "the engine looks at the whole page of a written byte",
  },
  {
    file: "src/kvm/xen/wallclock.ts",
    line: "cache.noteWrite(0, PAGE_SIZE);",
    before: "0",
    why: "the engine looks at the whole page of a written byte",
  },
  {
    file: "src/kvm/xen/delivery.ts",
    before: "vcpu.pollPort = undefined;",
    after: ";",
    why: "what is left of a poll tells a vCPU to look, which then finds nothing",
  },
  {
    file: "src/kvm/xen/domain.ts",
    before: "{ addr32: 0n, size32: 0, addr64: 0n, size64: 0 }",
    why: "pages of the client are looked at behind a configuration only, which brings its own",
  },
  {
    file: "src/kvm/xen/domain.ts",
    line: "blobs = {",
    before: "0n",
    why: "pages of the client are looked at behind a configuration only, which brings its own",
  },
  {
    file: "src/kvm/xen/domain.ts",
    line: "blobs = {",
    before: "0",
    why: "pages of the client are looked at behind a configuration only, which brings its own",
  },
  {
    file: "src/kvm/xen/domain.ts",
    line: "this.#switch.isOn(",
    before: "this.msr !== 0",
    after: "false",
    why: "the switch counts this VM, too",
  },
  {
    file: "src/kvm/xen/domain.ts",
    before: "guess?.host.id === id",
    after: "false",
    why: "only where a vCPU is looked for first",
  },
  {
    file: "src/kvm/xen/evtchn-table.ts",
    line: "#lastPort = -1;",
    before: "-1",
    after: "+1",
    why: "the first assignment forgets the port that was looked up last",
  },
  {
    file: "src/kvm/xen/evtchn-table.ts",
    line: "#lastPort = -1;",
    before: "1",
    after: "2",
    why: "-2 is no port either",
  },
  {
    file: "src/kvm/xen/evtchn-table.ts",
    before: "sendPort !== this.#lastPort",
    after: "true",
    why: "only saves looking anew",
  },
  {
    file: "src/kvm/xen/evtchn-table.ts",
    before: "this.#lastPort = sendPort;",
    after: ";",
    why: "only saves looking anew",
  },
  {
    file: "src/kvm/xen/evtchn-table.ts",
    line: "eventfds cannot be updated",
    before: '"eventfd" in old || "eventfd" in target',
    why: "an eventfd has no port and no priority: the next two comparisons refuse it, too",
  },
  {
    file: "src/kvm/xen/evtchn-table.ts",
    line: "eventfds cannot be updated",
    before: '"eventfd"',
    why: "an eventfd has no port and no priority: the next two comparisons refuse it, too",
  },
  {
    file: "src/kvm/xen/evtchn-table.ts",
    line: "eventfds cannot be updated",
    before: 'refuse("EINVAL", "eventfds cannot be updated");',
    why: "an eventfd has no port and no priority: the next two comparisons refuse it, too",
  },
  {
    file: "src/kvm/xen/evtchn-table.ts",
    line: 'const port = "eventfd" in target ? 0 : target.port;',
    before: '"eventfd"',
    after: '""',
    why: "without a port neither of the comparisons refuses",
  },
  {
    file: "src/kvm/xen/hypercall-page.ts",
    before: "address >> 52n !== 0n",
    after: "false",
    why: "no slot lies beyond 52 bits",
  },
  {
    file: "src/kvm/xen/hypercall-page.ts",
    before: "52n",
    after: "53n",
    why: "no slot lies beyond 52 bits",
  },
  {
    file: "src/kvm/xen/hypercall.ts",
    line: "BigInt.asUintN(64, result)",
    before: "64",
    after: "65",
    why: "a register takes 64 bits",
  },
  {
    file: "src/kvm/xen/hypercall.ts",
    before: "default: return undefined;",
    why: "a function that ends gives the same",
  },
  {
    file: "src/kvm/xen/hypercall.ts",
    before: "vcpu.host.yield();",
    why: "other vCPUs have their turn all the same, later",
  },
  {
    file: "src/kvm/xen/hypercall.ts",
    line: "isPending(domain, evtchnPort(0)) === undefined",
    before: "0",
    after: "1",
    why: "whether shared_info is at hand is the same for all ports",
  },
  {
    file: "src/kvm/xen/limits.ts",
    before: "0x7ffffffff000n",
    why: "the one address more is not aligned",
  },
  {
    file: "src/kvm/xen/runstate.ts",
    before: "vcpu.runstate1.active",
    after: "true",
    why: "an area that is not active has no translation either",
  },
  {
    file: "src/kvm/xen/runstate.ts",
    before: "state === Runstate.RUNNABLE",
    why: "says only whether to renew a translation, which the next entry does",
  },
  {
    file: "src/kvm/xen/runstate.ts",
    line: "vcpu.runstate2.deactivate();",
    before: "vcpu.runstate2.deactivate();",
    why: "without its first page the second is not looked at",
  },
  {
    file: "src/kvm/xen/runstate.ts",
    before: "size - first",
    after: "size + first",
    why: "fewer than 48 bytes more still end in the same page",
  },
  {
    file: "src/kvm/xen/runstate.ts",
    line: "writeGuest(domain, vcpu, false);",
    before: "false",
    after: "true",
    why: "the areas have been translated just before",
  },
  {
    file: "src/kvm/xen/runstate.ts",
    before: "length2 > 0",
    why: "nothing of an area in one page is in a second one",
  },
  {
    file: "src/kvm/xen/runstate.ts",
    before: "length2 > 0 && !second.check(length2)",
    why: "nothing of an area in one page is in a second one",
  },
  {
    file: "src/kvm/xen/runstate.ts",
    line: "if (length2 > 0",
    before: "0",
    after: "1",
    why: "no part of an area has one byte only",
  },
  {
    file: "src/kvm/xen/runstate.ts",
    line: "if (updating) view.setUint8(flagByte, Number(entry >> 56n));",
    before: "updating",
    why: "no guest runs between the writes of an update",
  },
  {
    file: "src/kvm/xen/runstate.ts",
    line: "if (updating) view.setUint8(flagByte, Number(entry >> 56n));",
    before: "view.setUint8(flagByte, Number(entry >> 56n));",
    why: "no guest runs between the writes of an update",
  },
  {
    file: "src/kvm/xen/runstate.ts",
    line: "if (updating) view.setUint8(flagByte, Number(entry >> 56n));",
    before: "entry >> 56n",
    why: "no guest runs between the writes of an update",
  },
  {
    file: "src/kvm/xen/runstate.ts",
    line: "if (updating) view.setUint8(flagByte, Number(entry >> 56n));",
    before: "56n",
    why: "no guest runs between the writes of an update",
  },
  {
    file: "src/kvm/xen/runstate.ts",
    line: "(entry & ~XEN_RUNSTATE_UPDATE)",
    before: "updating",
    why: "the highest byte of a time is 0, and has been written with the rest",
  },
  {
    file: "src/kvm/xen/runstate.ts",
    line: "(entry & ~XEN_RUNSTATE_UPDATE)",
    before: "(entry & ~XEN_RUNSTATE_UPDATE) >> 56n",
    why: "the highest byte of a time is 0, and has been written with the rest",
  },
  {
    file: "src/kvm/xen/runstate.ts",
    line: "(entry & ~XEN_RUNSTATE_UPDATE)",
    before: "56n",
    why: "the highest byte of a time is 0, and has been written with the rest",
  },
  {
    file: "src/kvm/xen/timer.ts",
    before: "vcpu.timer = undefined;",
    after: ";",
    why: "a timer that has fired or was cancelled can be cancelled again",
  },
  {
    file: "src/kvm/xen/timer.ts",
    before: "delta > 0n",
    after: "delta >= 0n",
    why: "0 has no more than 50 bits",
  },
  {
    file: "src/kvm/xen/timer.ts",
    before: "vcpu.timerExpires !== 0n",
    after: "true",
    why: "a firing that waits has its time still",
  },
  {
    file: "src/kvm/xen/vcpu-domain.ts",
    line: "lastSteal: 0n,",
    before: "0n",
    why: "one nanosecond of a time that is rounded",
  },
  {
    file: "src/kvm/xen/vcpu-xen.ts",
    before: "offset + Pvclock.SIZE",
    after: "offset - Pvclock.SIZE",
    why: "an area that is large enough was translated before",
  },
  {
    file: "src/kvm/xen/vcpu-xen.ts",
    before: "!cache.active",
    after: "false",
    why: "an area that is not active has no translation either",
  },
  {
    file: "src/kvm/xen/view.ts",
    line: "mpStates[at] ?? 0",
    before: "0",
    after: "1",
    why: "there is a state for every vCPU",
  },
  {
    file: "src/kvm/xen/wallclock.ts",
    before: "view.setUint32(at, version, true);",
    why: "no guest runs between the writes of an update",
  },
  {
    file: "src/kvm/xen/wallclock.ts",
    line: "view.setUint32(at, version, true);",
    before: "true",
    why: "no guest runs between the writes of an update",
  },
  {
    file: "src/kvm/xen/wallclock.ts",
    before: "((view.getUint32(at, true) + 1) | 1) >>> 0",
    why: "setUint32 takes 32 bits of any number",
  },
  {
    file: "src/kvm/xen/wallclock.ts",
    before: "(version + 1) >>> 0",
    why: "setUint32 takes 32 bits of any number",
  },
  {
    file: "src/kvm/xen/wallclock.ts",
    before: "!cache.check(PAGE_SIZE)",
    after: "true",
    why: "only saves translating anew",
  },
  {
    file: "src/vmm/xen/backends/net/mac.ts",
    before: "text.slice(0, 2)",
    why: "a number ends at the colon",
  },
  {
    file: "src/vmm/xen/backends/net/mac.ts",
    line: "text.slice(0, 2)",
    before: "0",
    after: "1",
    why: "the bit of groups is in the second digit",
  },
  {
    file: "src/vmm/xen/backends/net/mac.ts",
    line: "text.slice(0, 2)",
    before: "2",
    after: "3",
    why: "a number ends at the colon",
  },
  {
    file: "src/vmm/xen/backends/net/connection.ts",
    before: "connection?.process",
    why: "nothing is heard before the connection is there",
  },
  {
    file: "src/vmm/xen/backends/net/connection.ts",
    line: "if (ring.waiting === 0) return undefined;",
    before: "ring.waiting === 0",
    after: "true",
    why: "no guest runs between the two looks",
  },
  {
    file: "src/vmm/xen/backends/net/connection.ts",
    before: "ring.waiting === waiting",
    after: "true",
    why: "no guest runs between the two looks",
  },
  {
    file: "src/vmm/xen/backends/net/connection.ts",
    line: "ring.waiting ?? 0",
    before: "0",
    why: "the ring was looked at just before",
  },
  {
    file: "src/vmm/xen/backends/net/packet.ts",
    line: "bytes[at] ?? 0",
    before: "0",
    after: "1",
    why: "what is read beyond a frame ends outside of it",
  },
  {
    file: "src/vmm/xen/backends/net/packet.ts",
    line: "segmentSize: size = 0",
    before: "0",
    after: "1",
    why: "both are below the smallest size",
  },
  {
    file: "src/vmm/xen/backends/block/connection.ts",
    before: "connection?.process",
    why: "nothing is heard before the connection is there",
  },
  {
    file: "src/vmm/xen/backends/block/connection.ts",
    line: "if (this.#ring.waiting === 0) break;",
    before: "this.#ring.waiting === 0",
    after: "true",
    why: "no guest runs between the two looks",
  },
  {
    file: "src/vmm/xen/backends/block/connection.ts",
    line: "#bytes = 0",
    before: "0",
    after: "1",
    why: "requests have whole sectors",
  },
  {
    file: "src/vmm/xen/hypercalls/vcpu-op.ts",
    before: "since > 0n",
    after: "since >= 0n",
    why: "0 adds nothing",
  },
  {
    file: "src/vmm/xen/hypercalls/vcpu-op.ts",
    line: "(times[state] ?? 0n)",
    before: "0n",
    why: "there are four states and four times",
  },
  {
    file: "src/vmm/xen/hypercalls/vcpu-op.ts",
    before: "first === undefined",
    after: "false",
    why: "nothing is a size beyond no address",
  },
  {
    file: "src/vmm/xen/ram-frames.ts",
    before: "range !== undefined",
    after: "true",
    why: "only a frame of RAM has a state",
  },
  {
    file: "src/vmm/xen/ram-frames.ts",
    before: "donor === undefined",
    after: "false",
    why: "what is no frame is in no range",
  },
  {
    file: "src/vmm/xen/ram-frames.ts",
    before: "from === undefined",
    after: "false",
    why: "a page that is free is of RAM",
  },
  {
    file: "src/vmm/xen/ram-frames.ts",
    before: "gfn === undefined",
    after: "false",
    why: "what is no frame has no state",
  },
  {
    file: "src/vmm/xen/ram-frames.ts",
    line: "if (owner === undefined || range === undefined",
    before: "owner === undefined || range === undefined",
    after: "false",
    why: "what is no frame has no state",
  },
  {
    file: "src/vmm/xen/ram-frames.ts",
    line: "if (owner === undefined || range === undefined",
    before: "owner === undefined",
    after: "false",
    why: "what is no frame has no state",
  },
  {
    file: "src/vmm/xen/ram-frames.ts",
    line: "if (owner === undefined || range === undefined",
    before: "range === undefined",
    after: "false",
    why: "what is no frame has no state",
  },
  {
    file: "src/vmm/xen/ram-frames.ts",
    before: `assert(owner !== undefined, "a page that is nobody's");`,
    after: ";",
    why: "every page is of a range",
  },
  {
    file: "src/vmm/xen/ram-frames.ts",
    before: "owner !== undefined",
    after: "true",
    why: "every page is of a range",
  },
  {
    file: "src/vmm/xen/ram-frames.ts",
    before: `assert(range !== undefined, "a page that is nobody's");`,
    after: ";",
    why: "every page is of a range",
  },
];

/** @typedef {{ file: string, text: string, before: string, after: string }} Change */

/** @param {typeof invisible[number]} row @param {Change} change */
const means = (row, { file, text, before, after }) =>
  row.file === file &&
  row.before === before &&
  (row.after ?? after) === after &&
  text.includes(row.line ?? "");

/**
 * Why nobody can see a change, if that is known.
 * @param {Change} change
 */
export const reasonOf = (change) => invisible.find((row) => means(row, change))?.why;

/**
 * Reasons that are none any more, as lines: those of changes that are no mutants, as the code is another one, and
 * those of mutants that were all noticed.
 * @template {Change} T
 * @param {readonly T[]} all the mutants of a folder
 * @param {(mutant: T) => boolean} isNoticed
 */
export function staleReasons(all, isNoticed) {
  const folder = /^src\/\w+\/\w+\//.exec(all[0]?.file ?? "")?.[0] ?? "-";
  return invisible
    .filter(({ file }) => file.startsWith(folder))
    .flatMap((row) => {
      const meant = all.filter((mutant) => means(row, mutant));
      if (meant.some((mutant) => !isNoticed(mutant))) return [];
      const what = `${row.file}: ${row.before}${row.after === undefined ? "" : ` -> ${row.after}`}`;
      return [`${meant.length === 0 ? "is no mutant" : "is noticed"}: ${what}`];
    });
}
