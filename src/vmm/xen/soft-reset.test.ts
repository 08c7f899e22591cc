import { describe, expect, it } from "vitest";
import { KVM_XEN_INVALID } from "../../abi/kvm/index.js";
import { XenstoreInterface } from "../../abi/xen/xs-wire.js";
import { evtchnPort, PAGE_SIZE, xenVcpuId } from "../../base/index.js";
import { makeDomain } from "./kvm.fixture.js";
import { PRIVILEGED } from "./xenstore/node.js";

const SELF = 0x7ff0;
/** Where the tests put arguments. */
const AT = 0x5000;
const STORE_PAGE = 0xfeff9 * PAGE_SIZE;
const CONSOLE_PAGE = 0xfeff8 * PAGE_SIZE;

/** A domain in which a kernel has set up a bit of everything. */
function running() {
  const test = makeDomain();
  const { domain, call } = test;
  const { memory } = domain;
  const ask = (
    nr: number,
    op: number,
    words: readonly (readonly [2 | 4 | 8, number])[],
  ): number => {
    let at = AT;
    for (const [size, value] of words) {
      at = Math.ceil(at / size) * size;
      const bytes = new Uint8Array(8);
      new DataView(bytes.buffer).setBigUint64(0, BigInt(value), true);
      memory.write(at, bytes.subarray(0, size));
      at += size;
    }
    return call(nr, nr === 24 ? [op, 0, AT] : [op, AT, 1]);
  };
  /** SCHEDOP_shutdown for the reason of a soft reset. */
  const reset = (): number => ask(29, 2, [[4, 5]]);
  return { ...test, memory, ask, reset };
}

describe("SHUTDOWN_soft_reset", () => {
  it("closes all ports, but those of the rings are there again", () => {
    const { domain, ask, reset, hvm } = running();
    expect(domain.mapSharedInfo(0x10, true)).toBe(0);
    expect(ask(32, 7, [[4, 0]])).toBe(0);
    expect(
      ask(32, 1, [
        [4, 0],
        [4, 0],
      ]),
    ).toBe(0);
    expect(domain.ports.close(evtchnPort(2))).toBe(0);
    expect(reset()).toBe(0);
    expect(hvm.sets.filter((attr) => attr.type === "EVTCHN").at(-1)).toMatchObject({ sendPort: 3 });
    expect([1, 2, 3, 4].map((port) => domain.ports.status(evtchnPort(port))?.status)).toEqual([
      2, 2, 0, 0,
    ]);
    expect(domain.params.get(2)).toBe(1n);
    expect(domain.params.get(18)).toBe(2n);
    const port = domain.store.read(PRIVILEGED, 0, `/local/domain/${domain.domid}/console/port`);
    expect(port).toEqual(Uint8Array.of(0x32));
  });

  it("a guest that was suspended keeps its memory and its nodes, and is told of the new ports", () => {
    const { domain } = running();
    const path = `/local/domain/${domain.domid}/data`;
    expect(domain.physmap.release(0x20)).toBe(true);
    expect(domain.store.write(PRIVILEGED, 0, `${path}/own`, Uint8Array.of(0x31))).toBeUndefined();
    const port = domain.ports.bindIpi(xenVcpuId(0));
    domain.restore();
    expect(domain.store.read(PRIVILEGED, 0, `${path}/own`)).toEqual(Uint8Array.of(0x31));
    expect([1, 2, port].map((each) => domain.ports.status(evtchnPort(each))?.status)).toEqual([
      2, 2, 0,
    ]);
    // The balloon's page is not back: the kernel goes on, and knows.
    expect(domain.physmap.isBacked(0x20)).toBe(false);
  });

  it("takes vectors, areas and timers back", () => {
    const { domain, ask, reset, vcpus, hvm, time, shutdowns } = running();
    domain.mapSharedInfo(0x10, true);
    expect(
      ask(34, 0, [
        [2, SELF],
        [4, 0],
        [8, 2],
      ]),
    ).toBe(0);
    expect(
      ask(34, 23, [
        [4, 0],
        [4, 0xf3],
      ]),
    ).toBe(0);
    expect(
      ask(24, 10, [
        [8, 0x20],
        [4, 0],
      ]),
    ).toBe(0);
    expect(ask(24, 5, [[8, 0x21000]])).toBe(0);
    expect(ask(24, 13, [[8, 0x22000]])).toBe(0);
    expect(ask(24, 6, [[8, 1_000_000]])).toBe(0);
    expect(
      ask(29, 6, [
        [4, 0],
        [4, 10],
      ]),
    ).toBe(1);
    expect(time.armed.size).toBe(2);
    expect(reset()).toBe(0);
    expect(time.armed.size).toBe(0);
    expect(shutdowns).toEqual([]);
    for (const vcpu of vcpus) {
      expect(vcpu.attributes.values.get("VCPU_INFO")).toMatchObject({ gpa: KVM_XEN_INVALID });
      expect(vcpu.attributes.values.get("VCPU_TIME_INFO")).toMatchObject({ gpa: KVM_XEN_INVALID });
      expect(vcpu.attributes.values.get("RUNSTATE_ADDR")).toMatchObject({ gpa: KVM_XEN_INVALID });
      expect(vcpu.attributes.values.get("UPCALL_VECTOR")).toMatchObject({ vector: 0 });
      expect(vcpu.attributes.values.get("TIMER")).toMatchObject({ port: 0 });
    }
    expect(hvm.values.get("UPCALL_VECTOR")).toMatchObject({ vector: 0 });
    expect(hvm.values.get("SHARED_INFO_HVA")).toMatchObject({ hva: 0n });
    expect(domain.params.has(0)).toBe(false);
    // A vcpu_info can be registered anew, and watchdogs are free.
    expect(
      ask(24, 10, [
        [8, 0x20],
        [4, 0],
      ]),
    ).toBe(0);
    expect(
      [1, 2].map(() =>
        ask(29, 6, [
          [4, 0],
          [4, 10],
        ]),
      ),
    ).toEqual([1, 2]);
  });

  it("unmaps what was mapped, and the balloon's memory is there again", () => {
    const { domain, memory, ask, reset } = running();
    memory.writeU32(0x10 * PAGE_SIZE, 7);
    domain.mapSharedInfo(0x10, true);
    memory.writeU32(0x10 * PAGE_SIZE + 0x800, 0xffffffff);
    ask(12, 7, [
      [2, SELF],
      [2, 0],
      [4, 1],
      [8, 0],
      [8, 0x100000],
    ]);
    memory.writeU32(0x100000 * PAGE_SIZE + 64, 1);
    domain.physmap.release(0x30);
    domain.physmap.populate(0x200000);
    expect(reset()).toBe(0);
    expect(memory.readU32(0x10 * PAGE_SIZE)).toBe(7);
    expect(domain.physmap.isBacked(0x100000)).toBe(false);
    expect(domain.physmap.isBacked(0x200000)).toBe(false);
    expect(memory.readU32(0x30 * PAGE_SIZE)).toBe(0);
    expect(domain.physmap.reservation).toEqual({ pages: 4096, maximum: 4096 });
    domain.mapSharedInfo(0x11, true);
    expect(memory.readU32(0x11 * PAGE_SIZE + 0x800)).toBe(0);
    expect(domain.grantTable.begin(8, 0, true)).toBe(-1);
    expect(domain.grantTable.begin(1, 0, true)).toMatchObject({ gfn: 0xfeff9 });
  });

  it("starts the xenstore ring anew, and keeps the console's", () => {
    const { domain, memory, reset } = running();
    const fired: string[] = [];
    const path = `/local/domain/${domain.domid}/name`;
    const fire = (changed: string): void => void fired.push(changed);
    domain.store.watch({ domid: domain.domid, path, token: "t", fire });
    const tx = domain.store.begin(domain.domid) as number;
    memory.writeU32(STORE_PAGE + XenstoreInterface.req_prod, 5);
    memory.writeU32(CONSOLE_PAGE + 3084, 9);
    expect(reset()).toBe(0);
    expect(memory.readU32(STORE_PAGE + XenstoreInterface.req_prod)).toBe(0);
    expect(memory.readU32(STORE_PAGE + XenstoreInterface.server_features)).toBe(2);
    expect(memory.readU32(CONSOLE_PAGE + 3084)).toBe(9);
    domain.store.write(PRIVILEGED, 0, path, Uint8Array.of(0x78));
    expect(fired).toEqual([]);
    expect(domain.store.end(domain.domid, tx, true)).toBe("ENOENT");
  });
});
