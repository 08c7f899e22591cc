/** spec/kvm/hypercalls.mjs against both halves: every number, every sub-operation. */
import { describe, expect, it } from "vitest";
import { HYPERCALLS } from "../../spec/kvm/hypercalls.mjs";
import { Evtchnop } from "../../src/abi/xen/event-channel.js";
import { Gnttabop } from "../../src/abi/xen/grant-table.js";
import { Hvmop } from "../../src/abi/xen/hvm.js";
import { Xenmem } from "../../src/abi/xen/memory.js";
import { Schedop } from "../../src/abi/xen/sched.js";
import { Vcpuop } from "../../src/abi/xen/vcpu.js";
import { Xenver } from "../../src/abi/xen/version.js";
import { Hypercall } from "../../src/abi/xen/xen.js";
import { Errno } from "../../src/base/index.js";
import { HIGH, machine } from "../../src/kvm/tests/machine.fixture.js";
import { makeDomain } from "../../src/vmm/xen/kvm.fixture.js";

type Numbers = Readonly<Record<string, number>>;
const TABLES: Readonly<Record<string, Numbers>> = {
  Evtchnop,
  Gnttabop,
  Hvmop,
  Schedop,
  Vcpuop,
  Xenmem,
  Xenver,
};
const numbers: Numbers = Hypercall;

/** Numbers that are tried: above all that Xen has. */
const CALLS = 64;
const SUBS = 48;
/** No guest-virtual address of the tests leads to memory. */
const NOWHERE = 2n ** 63n;

/** What a call is expected to be: answered, or -ENOSYS. Keyed `number` or `number.sub`. */
const rows = HYPERCALLS.flatMap((row) => {
  if (row.subs === undefined) {
    return [{ key: `${row.nr}`, name: row.name, there: row.errors !== null, kernel: row.kernel }];
  }
  return row.subs.map(([sub, name, errors, , kernel]) => ({
    key: `${row.nr}.${sub}`,
    name: `${row.name} ${name}`,
    there: errors !== null,
    kernel,
  }));
});
const byKey = new Map(rows.map((row) => [row.key, row]));
const withSubs = new Set(HYPERCALLS.filter((row) => row.subs).map((row) => numbers[row.name]));

function* allCalls(): Generator<{ nr: number; sub: number | undefined; key: string }> {
  for (let nr = 0; nr < CALLS; nr++) {
    if (!withSubs.has(nr)) yield { nr, sub: undefined, key: `${nr}` };
    else for (let sub = 0; sub < SUBS; sub++) yield { nr, sub, key: `${nr}.${sub}` };
  }
}

describe("the table", () => {
  it("has every hypercall and sub-operation that src/abi names, and no other", () => {
    const expected = Object.entries(numbers).flatMap(([name, nr]) => {
      const row = HYPERCALLS.find((one) => one.name === name);
      if (row?.subs === undefined) return [`${nr}`];
      return Object.values(TABLES[row.table ?? ""] ?? {}).map((sub) => `${nr}.${sub}`);
    });
    for (const { nr, name, table, subs } of HYPERCALLS) {
      expect([name, numbers[name]]).toEqual([name, nr]);
      const known = TABLES[table ?? ""] ?? {};
      for (const [sub, subName] of subs ?? [])
        expect([subName, known[subName]]).toEqual([subName, sub]);
    }
    expect([...byKey.keys()].sort()).toEqual(expected.sort());
    expect(byKey.size).toBe(rows.length);
  });
});

describe("the user half", () => {
  it("answers what is there, and -ENOSYS to everything else", () => {
    const wrong: string[] = [];
    let there = 0;
    let { call } = makeDomain();
    for (const { nr, sub, key } of allCalls()) {
      // What one hypercall does to the domain does not reach the next.
      if (sub === 0) call = makeDomain().call;
      // vcpu_op names a vCPU before the pointer; grant_table_op takes a count after it.
      const rest = nr === numbers["vcpu_op"] ? [0, NOWHERE] : [NOWHERE, 1];
      const args =
        nr === numbers["vm_assist"]
          ? [0, 5]
          : nr === numbers["console_io"]
            ? [0, 1, NOWHERE]
            : rest;
      const result = call(nr, sub === undefined ? args : [sub, ...rest]);
      const row = byKey.get(key);
      const expected = row?.there === true;
      if (expected) there++;
      if ((result !== -Errno.ENOSYS) !== expected) wrong.push(`${key} ${row?.name}: ${result}`);
    }
    expect(wrong).toEqual([]);
    expect(there).toBe(rows.filter((row) => row.there).length);
  });

  it("refuses everything above CPL 0", () => {
    const { call } = makeDomain();
    for (const { nr, sub } of allCalls()) {
      expect(call(nr, [sub ?? 0], { cpl: 3 })).toBe(-Errno.EPERM);
    }
  });
});

describe("the kernel half", () => {
  /** A vCPU for which every condition of the table is met. */
  async function setUp(met: boolean) {
    const m = await machine();
    m.vm.xen.hvmConfig({ flags: met ? 0x22 : 2, msr: 0x40000000 });
    m.vm.xen.setAttr({ type: "LONG_MODE", longMode: true });
    m.vm.xen.setAttr({ type: "SHARED_INFO", gfn: BigInt(HIGH) >> 12n });
    const vcpu = m.vcpus[0] as (typeof m.vcpus)[0];
    if (vcpu === undefined) throw new Error("no vCPU");
    vcpu.xen.setAttr({ type: "VCPU_INFO", gpa: BigInt(HIGH + 0x40) });
    if (met) {
      m.vm.xen.setAttr({ type: "XEN_VERSION", xenVersion: 0x40011 });
      const target = { port: 7, vcpu: 0, priority: 0xffffffff };
      const evtchn = { type: "EVTCHN", sendPort: 7, evtchnType: 5, flags: 0 } as const;
      m.vm.xen.setAttr({ ...evtchn, deliver: target });
      vcpu.xen.setAttr({ type: "TIMER", port: 3, priority: 0xffffffff, expiresNs: 0n });
    }
    // A port, or a list of one: also a poll of no ports that ends at once.
    m.view().setUint32(m.at(0x9000), 7, true);
    return { ...m, vcpu };
  }

  async function exits(nr: number, args: readonly number[], met: boolean): Promise<boolean> {
    const { vcpu, cpu } = await setUp(met);
    [nr, ...args].forEach((value, i) => {
      cpu(0).setGpr([0, 7, 6, 2, 10, 8][i] ?? 0, BigInt(value));
    });
    const hypercall = { code: 4, aux: 1 } as const;
    cpu(0).script.push(hypercall, { code: 2, write: true, address: 0x10, size: 1 });
    const exit = await vcpu.run();
    return exit.kind === "xen";
  }

  const POINTER = 0x9000;
  const argsOf = (nr: number, sub: number | undefined): readonly number[] => {
    if (sub === undefined) return [0];
    // A poll with a bad pointer ends with an error, which is an answer too.
    if (nr === numbers["sched_op"] && sub === Schedop.poll) return [sub, 0x7fff0000];
    return nr === numbers["vcpu_op"] ? [sub, 0, POINTER] : [sub, POINTER];
  };

  it("answers what it says, and leaves everything else to the client", async () => {
    const wrong: string[] = [];
    let answered = 0;
    for (const { nr, sub, key } of allCalls()) {
      const row = byKey.get(key);
      const inKernel = row?.kernel !== undefined;
      if (inKernel) answered++;
      if ((await exits(nr, argsOf(nr, sub), true)) === inKernel) wrong.push(`${key} ${row?.name}`);
    }
    expect(wrong).toEqual([]);
    expect(answered).toBe(rows.filter((row) => row.kernel !== undefined).length);
  });

  it("answers only what needs no condition while none is met", async () => {
    for (const row of rows.filter((one) => one.kernel !== undefined)) {
      const [nr = 0, sub] = row.key.split(".").map(Number);
      const always = row.kernel?.startsWith("always") === true;
      expect([row.name, await exits(nr, argsOf(nr, sub), false)]).toEqual([row.name, !always]);
    }
  });
});
