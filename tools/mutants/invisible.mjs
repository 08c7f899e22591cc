// @ts-check

/**
 * Survivors that nobody can see, with the reason. They count as survived all the same. `line` is a part of the
 * line that they are on, where the changed text alone does not say which one is meant.
 * @type {{ file: string, line?: string, before: string, after: string, why: string }[]}
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
    before: "port >> 3",
    after: "port << 3",
    why: "the engine looks at the page of a written byte; a port below 4096 stays in the allocated memory",
  },
  {
    file: "src/kvm/xen/delivery.ts",
    before: "!domain.sharedInfo.check(PAGE_SIZE)",
    after: "false",
    why: "where memory was before its slot went, the bits are still readable, and a poll may return early",
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
];

/**
 * Why nobody can see a change, if that is known.
 * @param {{ file: string, text: string, before: string, after: string }} mutant
 */
export const reasonOf = ({ file, text, before, after }) =>
  invisible.find(
    (row) =>
      row.file === file &&
      row.before === before &&
      row.after === after &&
      text.includes(row.line ?? ""),
  )?.why;
