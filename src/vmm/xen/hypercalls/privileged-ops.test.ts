/**
 * What a Xen 4.17 answers an unprivileged PVH guest to operations that are not for it, or without effect: the order
 * of checks, and each error.
 */
import { describe, expect, it } from "vitest";
import { Errno } from "../../../base/index.js";
import { makeDomain } from "../kvm.fixture.js";
import { AT } from "./arguments.fixture.js";

const { E2BIG, EACCES, EEXIST, EFAULT, EINVAL, ENOSYS, EOPNOTSUPP, EPERM, ESRCH } = Errno;
const [PLATFORM_OP, EVENT_CHANNEL_OP, PHYSDEV_OP, HVM_OP] = [7, 32, 33, 34] as const;
const [SYSCTL, DOMCTL, XENPMU_OP, DM_OP, HYPFS_OP] = [35, 36, 40, 41, 42] as const;
const NOWHERE = 0x40000000;
/** So that a structure of this many bytes reaches beyond memory by one. */
const endsAfter = (bytes: number): number => 16 * (1 << 20) - bytes + 1;

const test = makeDomain();
const OWN = test.domain.domid;
const DOMID_SELF = 0x7ff0;

/** The call with words of 32 bits where its structure is. */
function call(nr: number, args: readonly (number | bigint)[], words: readonly number[] = []) {
  test.domain.memory.write(AT, new Uint8Array(Uint32Array.from(words).buffer));
  return test.call(nr, args);
}

describe("operations of tools", () => {
  it.each([
    ["platform_op", PLATFORM_OP, 0x03000001],
    ["sysctl", SYSCTL, 0x15],
  ])("%s: structure, version, rights", (_name, nr, version) => {
    expect(call(nr, [NOWHERE])).toBe(-EFAULT);
    expect(call(nr, [endsAfter(136)])).toBe(-EFAULT);
    expect(call(nr, [AT], [1, version - 1])).toBe(-EACCES);
    expect(call(nr, [AT], [1, version])).toBe(-EPERM);
  });

  it("domctl: structure, version, domain, rights", () => {
    expect(call(DOMCTL, [NOWHERE])).toBe(-EFAULT);
    expect(call(DOMCTL, [endsAfter(144)])).toBe(-EFAULT);
    expect(call(DOMCTL, [AT], [5, 0x14, OWN])).toBe(-EACCES);
    const results = [OWN, 0, DOMID_SELF, 99].map((domid) => call(DOMCTL, [AT], [5, 0x15, domid]));
    expect(results).toEqual([-EPERM, -EPERM, -ESRCH, -ESRCH]);
    // A domain that is to be made is none yet.
    expect(call(DOMCTL, [AT], [1, 0x15, 99])).toBe(-EPERM);
    expect(call(DOMCTL, [AT], [1000, 0x15, 99])).toBe(-EPERM);
  });

  it("dm_op: number of buffers, buffers, domain", () => {
    expect(call(DM_OP, [OWN, 3, NOWHERE])).toBe(-E2BIG);
    expect(call(DM_OP, [OWN, 1, NOWHERE])).toBe(-EFAULT);
    expect(call(DM_OP, [OWN, 2, endsAfter(32)])).toBe(-EFAULT);
    expect(call(DM_OP, [OWN, 2, AT])).toBe(-EPERM);
    expect(call(DM_OP, [OWN, 0, NOWHERE])).toBe(-EPERM);
    expect(call(DM_OP, [0, 1, AT])).toBe(-EINVAL);
    expect(call(DM_OP, [DOMID_SELF, 1, AT])).toBe(-ESRCH);
  });

  it("xenpmu_op and hypfs_op, whatever is asked", () => {
    for (const cmd of [0, 1, 77]) {
      expect(call(XENPMU_OP, [cmd, NOWHERE])).toBe(-EOPNOTSUPP);
      expect(call(HYPFS_OP, [cmd, 0, 0, 0, 0])).toBe(-EPERM);
    }
  });
});

describe("physical interrupts", () => {
  it("can be bound, each once, and their ports behave like others", () => {
    const bind = (pirq: number) => call(EVENT_CHANNEL_OP, [2, AT], [pirq, 0, 0]);
    const word = (i: number): number =>
      new DataView((test.domain.memory.read(AT + 4 * i, 4) as Uint8Array).slice().buffer).getUint32(
        0,
        true,
      );
    expect(call(EVENT_CHANNEL_OP, [2, NOWHERE])).toBe(-EFAULT);
    expect(bind(56)).toBe(-EINVAL);
    expect(bind(55)).toBe(0);
    const port = word(2);
    expect(port).toBeGreaterThan(0);
    expect(bind(55)).toBe(-EEXIST);
    // status: EVTCHNSTAT_pirq, its vCPU and its number
    expect(call(EVENT_CHANNEL_OP, [5, AT], [DOMID_SELF, port])).toBe(0);
    expect([word(2), word(3), word(4)]).toEqual([3, 0, 55]);
    expect(call(EVENT_CHANNEL_OP, [8, AT], [port, 1])).toBe(0);
    expect(call(EVENT_CHANNEL_OP, [5, AT], [DOMID_SELF, port])).toBe(0);
    expect(word(3)).toBe(1);
    // nobody can send on it
    expect(call(EVENT_CHANNEL_OP, [4, AT], [port])).toBe(-EINVAL);
    expect(call(EVENT_CHANNEL_OP, [3, AT], [port])).toBe(0);
    expect(bind(55)).toBe(0);
    expect(word(2)).toBe(port);
    expect(call(EVENT_CHANNEL_OP, [3, AT], [port])).toBe(0);
  });

  it("have no physdev_op in a PVH domain", () => {
    for (const cmd of [12, 13, 14, 21, 25]) {
      expect(call(PHYSDEV_OP, [cmd, AT], [OWN])).toBe(-ENOSYS);
    }
  });
});

it("FIFO event channels are not offered", () => {
  expect(call(EVENT_CHANNEL_OP, [11, AT], [1, 0, 0, 0])).toBe(-ENOSYS);
  expect(call(EVENT_CHANNEL_OP, [12, NOWHERE])).toBe(-EFAULT);
  expect(call(EVENT_CHANNEL_OP, [12, AT], [1, 0])).toBe(-EOPNOTSUPP);
  expect(call(EVENT_CHANNEL_OP, [13, NOWHERE])).toBe(-EFAULT);
  expect(call(EVENT_CHANNEL_OP, [13, AT], [4096, 0])).toBe(-EINVAL);
  expect(call(EVENT_CHANNEL_OP, [13, AT], [1, 0])).toBe(-ENOSYS);
});

describe("hvm_op", () => {
  it("pagetable_dying: structure, domain, and no shadow page tables", () => {
    const dying = (domid: number) => call(HVM_OP, [9, AT], [domid, 0, 0x1000, 0]);
    expect(call(HVM_OP, [9, NOWHERE])).toBe(-EFAULT);
    expect(call(HVM_OP, [9, endsAfter(16)])).toBe(-EFAULT);
    expect([OWN, DOMID_SELF, 0].map(dying)).toEqual([-EINVAL, -EINVAL, -EINVAL]);
    expect(dying(99)).toBe(-ESRCH);
  });

  it("xentrace: structure, event, length", () => {
    const trace = (event: number, bytes: number) => call(HVM_OP, [11, AT], [event | (bytes << 16)]);
    expect(call(HVM_OP, [11, NOWHERE])).toBe(-EFAULT);
    expect(call(HVM_OP, [11, endsAfter(32)])).toBe(-EFAULT);
    expect([trace(0, 0), trace(0xfff, 28)]).toEqual([0, 0]);
    expect([trace(0x1000, 0), trace(0xfff, 29)]).toEqual([-EINVAL, -EINVAL]);
  });

  it("guest_request_vm_event takes no argument, altp2m is for other processors", () => {
    expect([call(HVM_OP, [24, 0]), call(HVM_OP, [24, AT])]).toEqual([0, -EINVAL]);
    expect(call(HVM_OP, [25, NOWHERE])).toBe(-EOPNOTSUPP);
  });
});
