import { describe, expect, it } from "vitest";
import { PAGE_SIZE } from "../../base/index.js";
import { codeOf } from "../../base/refusal.fixture.js";
import { domainLayer, readDomain, writeDomain } from "./domain-state.js";
import { makeDomain } from "./kvm.fixture.js";
import { PRIVILEGED } from "./xenstore/node.js";
import { toBytes, toText } from "./xenstore/wire.js";

/** Parameters of xen/include/public/hvm/params.h. */
const HVM_PARAM = { CALLBACK_IRQ: 0, STORE_EVTCHN: 2, IDENT_PT: 12, CONSOLE_EVTCHN: 18 };
const [FREE, LENT] = [0x20, 0x21];
const OUTSIDE = 0x40000;

/** A domain whose guest has done a bit of everything, and has suspended itself. */
function suspended() {
  const test = makeDomain();
  const { domain } = test;
  domain.params.set(HVM_PARAM.CALLBACK_IRQ, (2n << 56n) | 0xf3n);
  domain.params.set(HVM_PARAM.IDENT_PT, 2n ** 64n - 1n);
  domain.params.set(HVM_PARAM.CONSOLE_EVTCHN, 77n);
  const other = domain.vcpus.get(1);
  if (other !== undefined) Object.assign(other, { initialised: true, down: true });
  domain.physmap.release(LENT);
  domain.physmap.populate(OUTSIDE);
  domain.physmap.release(FREE);
  domain.consolePage.write(100, toBytes("what nobody has read yet"));
  const { store, domid } = domain;
  const data = `/local/domain/${domid}/data`;
  store.write(domid, 0, `${data}/own`, Uint8Array.of(0, 1, 255));
  store.setPermissions(domid, 0, `${data}/own`, [
    { domid, access: "n" },
    { domid: 0, access: "b" },
  ]);
  return { ...test, data };
}

/** What a snapshot's file holds: as text, and read back. */
const throughFile = (layer: Parameters<typeof domainLayer.write>[0]) =>
  domainLayer.read(JSON.parse(JSON.stringify(domainLayer.write(layer))), "domain");

describe("a domain in a snapshot", () => {
  it("is there again: parameters, vCPUs, memory, console, xenstore", () => {
    const { domain, data } = suspended();
    const layer = readDomain(domain);
    expect(throughFile(layer)).toEqual(layer);

    const { domain: next, lines } = makeDomain();
    const ports = [HVM_PARAM.STORE_EVTCHN, HVM_PARAM.CONSOLE_EVTCHN].map((index) =>
      next.params.get(index),
    );
    writeDomain(next, throughFile(layer));
    expect(next.params.get(HVM_PARAM.IDENT_PT)).toBe(2n ** 64n - 1n);
    // The rings of the new domain are its own.
    expect(
      [HVM_PARAM.STORE_EVTCHN, HVM_PARAM.CONSOLE_EVTCHN].map((index) => next.params.get(index)),
    ).toEqual(ports);
    expect([...next.vcpus.values()].map(({ initialised, down }) => [initialised, down])).toEqual(
      [...domain.vcpus.values()].map(({ initialised, down }) => [initialised, down]),
    );
    expect(next.vcpus.get(1)).toMatchObject({ initialised: true, down: true });
    for (const gfn of [0, FREE, LENT, OUTSIDE])
      expect(next.physmap.isBacked(gfn), `frame ${gfn}`).toBe(domain.physmap.isBacked(gfn));
    expect([FREE, LENT, OUTSIDE].map((gfn) => next.physmap.isBacked(gfn))).toEqual([
      ...[false, false, true],
    ]);
    expect(toText(next.consolePage.read(100, 24))).toBe("what nobody has read yet");
    expect(next.store.read(PRIVILEGED, 0, `${data}/own`)).toEqual(Uint8Array.of(0, 1, 255));
    expect(next.store.getPermissions(PRIVILEGED, 0, `${data}/own`)).toEqual([
      { domid: domain.domid, access: "n" },
      { domid: 0, access: "b" },
    ]);
    expect(lines).toEqual([]);
  });

  it("is refused when it does not fit, or has been damaged", () => {
    const layer = readDomain(suspended().domain);
    const [vcpu = { initialised: false, down: false }] = layer.vcpus;
    const [root, ...others] = layer.store;
    if (root === undefined) throw new Error("a store without nodes");
    const refuse = (part: Partial<typeof layer>) =>
      codeOf(() => writeDomain(makeDomain().domain, { ...layer, ...part }));
    expect(refuse({})).toBeUndefined();
    expect(refuse({ vcpus: [vcpu] })).toBe("SNAPSHOT_DAMAGED");
    expect(refuse({ vcpus: [vcpu, vcpu, vcpu] })).toBe("SNAPSHOT_DAMAGED");
    expect(refuse({ frames: { ...layer.frames, free: [2 ** 20] } })).toBe("SNAPSHOT_DAMAGED");
    expect(refuse({ store: others })).toBe("SNAPSHOT_DAMAGED");
    expect(refuse({ store: [{ ...root, permissions: ["x0"] }, ...others] })).toBe(
      "SNAPSHOT_DAMAGED",
    );
  });

  it("has limits for every list and text of its file", () => {
    const layer = readDomain(suspended().domain);
    const [root] = layer.store;
    if (root === undefined) throw new Error("a store without nodes");
    const read = (part: Partial<typeof layer>) => codeOf(() => throughFile({ ...layer, ...part }));
    const store = (part: Partial<typeof root>) => read({ store: [{ ...root, ...part }] });
    const vcpus = (count: number) =>
      Array.from({ length: count }, () => ({ initialised: true, down: false }));
    const moved = (count: number) =>
      read({
        frames: {
          ...layer.frames,
          moved: Array.from({ length: count }, () => ({ gfn: 1, page: 1 })),
        },
      });
    // The most that may be, and one more.
    expect([vcpus(1), vcpus(64)].map((each) => read({ vcpus: each }))).toEqual([
      ...[undefined, undefined],
    ]);
    expect([vcpus(0), vcpus(65)].map((each) => read({ vcpus: each }))).toEqual([
      ...["SNAPSHOT_DAMAGED", "SNAPSHOT_DAMAGED"],
    ]);
    expect([moved(32), moved(33)]).toEqual([undefined, "SNAPSHOT_DAMAGED"]);
    const values = [4096, 4097].map((length) => store({ value: new Uint8Array(length) }));
    expect(values).toEqual([undefined, "SNAPSHOT_DAMAGED"]);
    const paths = [4096, 4097].map((length) => store({ path: "/".padEnd(length, "a") }));
    expect(paths).toEqual([undefined, "SNAPSHOT_DAMAGED"]);
    const permissions = [0, 1, 256, 257].map((length) =>
      store({ permissions: Array.from({ length }, () => "n0") }),
    );
    expect(permissions).toEqual(["SNAPSHOT_DAMAGED", undefined, undefined, "SNAPSHOT_DAMAGED"]);
    const consoles = [PAGE_SIZE - 1, PAGE_SIZE, PAGE_SIZE + 1].map((length) =>
      read({ console: new Uint8Array(length) }),
    );
    expect(consoles).toEqual(["SNAPSHOT_DAMAGED", undefined, "SNAPSHOT_DAMAGED"]);
    const pages = [0, 2 ** 20, 2 ** 20 + 1, -1].map((page) =>
      read({ frames: { ...layer.frames, free: [page] } }),
    );
    expect(pages).toEqual([undefined, undefined, "SNAPSHOT_DAMAGED", "SNAPSHOT_DAMAGED"]);
  });
});
