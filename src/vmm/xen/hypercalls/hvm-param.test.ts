/** HVM parameters by public/hvm/params.h and the rules of Xen's hvm_allow_set_param and hvm_allow_get_param. */
import { describe, expect, it } from "vitest";
import { Errno } from "../../../base/index.js";
import { makeDomain } from "../kvm.fixture.js";
import { AT, addToPhysmap, type Field, put, SELF } from "./arguments.fixture.js";

const { EEXIST, EINVAL, EPERM, ESRCH } = Errno;
const [HVM_OP, SET, GET] = [34, 0, 1] as const;

function setUp() {
  const test = makeDomain();
  const { call, domain } = test;
  const ask = (
    op: number,
    index: number,
    value: number | bigint,
    domid: number,
    compat: boolean,
  ) => {
    const fields: Field[] = [
      [2, domid],
      [2, 0x55],
      [4, index],
      [8, value],
    ];
    return call(HVM_OP, [op, put(domain, fields)], { compat });
  };
  const set = (index: number, value: number | bigint, domid = SELF, compat = false): number =>
    ask(SET, index, value, domid, compat);
  const get = (index: number, domid = SELF): number => ask(GET, index, 0xdead, domid, false);
  const value = (): bigint | undefined => domain.memory.readU64(AT + 8);
  return { ...test, set, get, value };
}

/** Whether a guest may set and read a parameter; those in neither list exist and are for tools. */
const [CALLBACK_IRQ, ALTP2M] = [0, 35] as const;
const SETTABLE = [0, 2, 15, 18, 19, 34, 36, 37];
const ONLY_READABLE = [1, 17, ALTP2M];
const GONE = [4, 13, 20, 21, 22, 23, 24, 25, 26, 30];
const FOR_TOOLS = Array.from({ length: 39 }, (_, i) => i).filter(
  (i) => ![...SETTABLE, ...ONLY_READABLE, ...GONE].includes(i),
);

describe("parameters", () => {
  it.each(SETTABLE)("%i is read as it was set, and nothing else of the structure changes", (i) => {
    const { set, get, value, domain } = setUp();
    for (const each of [0x0123_4567_89ab_cdefn & ~(0xffn << 56n), 7n, 0n]) {
      expect(set(i, each)).toBe(0);
      expect([get(i), value()]).toEqual([0, each]);
      expect(domain.memory.readU16(AT)).toBe(SELF);
      expect(domain.memory.readU32(AT + 4)).toBe(i);
    }
  });

  it.each(ONLY_READABLE)("%i is read only", (i) => {
    const { set, get, value } = setUp();
    expect(get(i)).toBe(0);
    const before = value();
    expect(set(i, 5)).toBe(i === ALTP2M ? -EEXIST : -EPERM);
    expect([get(i), value()]).toEqual([0, before]);
  });

  it.each([
    ...GONE.map((i) => [i, EINVAL, "gone"]),
    ...FOR_TOOLS.map((i) => [i, EPERM, "for tools"]),
    ...[39, 40, 2 ** 31, 2 ** 32 - 1].map((i) => [i, EINVAL, "beyond the last"]),
  ] as const)("%i: errno %i, as it is %s", (i, error) => {
    const { set, get, value, domain } = setUp();
    expect([set(Number(i), 5), get(Number(i))]).toEqual([-error, -error]);
    expect(value()).toBe(0xdeadn);
    expect(domain.params.has(Number(i))).toBe(false);
  });

  it("are this domain's, by number or as DOMID_SELF; the index is looked at first", () => {
    const { set, get, domain } = setUp();
    expect([set(15, 1, domain.domid), get(15, domain.domid)]).toEqual([0, 0]);
    for (const domid of [0, 7, 0x7ff1]) {
      expect([set(15, 1, domid), get(15, domid)]).toEqual([-ESRCH, -ESRCH]);
      expect([set(4, 1, domid), set(5, 1, domid)]).toEqual([-ESRCH, -ESRCH]);
      expect([set(39, 1, domid), get(39, domid)]).toEqual([-EINVAL, -EINVAL]);
    }
  });
});

describe("HVM_PARAM_CALLBACK_IRQ", () => {
  const VECTOR = 2n << 56n;

  it("takes the mode of the caller over, whatever is asked for", () => {
    const { set, hvm } = setUp();
    const mode = (): unknown => hvm.values.get("LONG_MODE");
    expect(set(CALLBACK_IRQ, 1)).toBe(0);
    expect(mode()).toEqual({ type: "LONG_MODE", longMode: true });
    expect(set(CALLBACK_IRQ, 1, SELF, true)).toBe(0);
    expect(mode()).toEqual({ type: "LONG_MODE", longMode: false });
  });

  it.each([0n, 1n, 3n, 4n, 255n])("of type %i sets no vector", (type) => {
    const { set, hvm } = setUp();
    expect(set(CALLBACK_IRQ, (type << 56n) | 0xf3n)).toBe(0);
    expect(hvm.values.has("UPCALL_VECTOR")).toBe(false);
  });

  it("has the vector in its lowest 8 bits", () => {
    const { set, hvm } = setUp();
    expect(set(CALLBACK_IRQ, VECTOR | 0x1ff_00_1ffn)).toBe(0);
    expect(hvm.values.get("UPCALL_VECTOR")).toEqual({ type: "UPCALL_VECTOR", vector: 0xff });
  });

  it("makes the vCPUs whose upcall waits take it, and no other", () => {
    const test = setUp();
    addToPhysmap(test, 0, 0, 0x10);
    test.take();
    expect(test.set(CALLBACK_IRQ, VECTOR | 0xf3n)).toBe(0);
    expect(test.take()).toEqual([]);
    // vcpu_info of vCPU 1
    test.domain.memory.writeU8(0x10000 + 64, 1);
    expect(test.set(CALLBACK_IRQ, VECTOR | 0xf3n)).toBe(0);
    expect(test.take()).toEqual(["kick 4"]);
    expect(test.set(CALLBACK_IRQ, 1)).toBe(0);
    expect(test.take()).toEqual([]);
  });
});

describe("HVMOP_set_evtchn_upcall_vector", () => {
  it.each([
    [0, 0x00, -EINVAL],
    [0, 0x0f, -EINVAL],
    [0, 0x10, 0],
    [1, 0xff, 0],
    [2, 0xf3, -Errno.ENOENT],
    [2, 0x0f, -EINVAL],
    [2 ** 32 - 1, 0xf3, -Errno.ENOENT],
  ])("of vCPU %i, vector %i: %i", (vcpu, vector, result) => {
    const { call, domain, vcpus } = setUp();
    const fields: Field[] = [
      [4, vcpu],
      [1, vector],
    ];
    expect(call(HVM_OP, [23, put(domain, fields)])).toBe(result);
    const set = vcpus.map(({ attributes }) => attributes.values.get("UPCALL_VECTOR"));
    const own = { type: "UPCALL_VECTOR", vector };
    expect(set).toEqual([0, 1].map((id) => (result === 0 && id === vcpu ? own : undefined)));
  });
});

describe("HVMOP_get_mem_type", () => {
  it.each([
    [0, 0],
    [4095, 0],
    [4096, 2],
    [2n ** 32n, 2],
    [2n ** 40n, 2],
    [2n ** 40n + 1n, 2],
    [2n ** 64n - 1n, 2],
  ])("of frame %s is %i (HVMMEM_ram_rw, HVMMEM_mmio_dm)", (pfn, type) => {
    const { call, domain } = setUp();
    const fields: Field[] = [
      [2, SELF],
      [2, 0x77],
      [2, 0],
      [8, pfn],
    ];
    expect(call(HVM_OP, [15, put(domain, fields)])).toBe(0);
    expect(domain.memory.readU16(AT + 2)).toBe(type);
    expect(domain.memory.readU64(AT + 8)).toBe(BigInt(pfn));
  });
});
