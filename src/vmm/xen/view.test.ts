import { expect, it } from "vitest";
import { grantRef, xenVcpuId } from "../../base/index.js";
import { makeDomain } from "./kvm.fixture.js";
import { domainView } from "./view.js";
import { toBytes } from "./xenstore/wire.js";

/** Where the tests put arguments. */
const AT = 0x5000;

it("has ports and where they lead, by kind", () => {
  const { domain, call } = makeDomain();
  const { memory, ports } = domain;
  memory.write(AT, new Uint8Array(64));
  const bound = (op: number, ...words: number[]) => {
    for (const [i, word] of words.entries()) memory.writeU32(AT + 4 * i, word);
    expect(call(32, [op, AT])).toBe(0);
  };
  const ipi = ports.bindIpi(xenVcpuId(1));
  // EVTCHNOP_bind_virq of VIRQ_TIMER, and of VIRQ_DEBUG for the other vCPU.
  bound(1, 0, 1);
  bound(1, 1, 0);
  // EVTCHNOP_alloc_unbound, for domain 0, and for itself with EVTCHNOP_bind_interdomain to it.
  bound(6, 0x7ff0);
  bound(6, 0x7ff07ff0);
  bound(0, 0x7ff0, 7);
  expect(domainView(domain, {}).ports).toEqual([
    { port: 1, state: "backend", to: expect.any(Number), vcpu: 0 },
    { port: 2, state: "backend", to: expect.any(Number), vcpu: 0 },
    { port: ipi, state: "ipi", to: 0, vcpu: 1 },
    { port: 4, state: "virq", to: 0, vcpu: 1 },
    { port: 5, state: "virq", to: 1, vcpu: 0 },
    { port: 6, state: "unbound", to: 0, vcpu: 0 },
    { port: 7, state: "loopback", to: 8, vcpu: 0 },
    { port: 8, state: "loopback", to: 7, vcpu: 0 },
  ]);
});

it("has timers, vCPUs that are down, and parameters", () => {
  const { domain, call } = makeDomain();
  const timers = () => domainView(domain, {}).timers;
  const none = { oneShot: false, periodic: false };
  const before = timers();
  expect(before).toMatchObject([
    { vcpu: 0, ...none, down: false },
    { vcpu: 1, ...none },
  ]);
  // VCPUOP_set_periodic_timer of a millisecond for vCPU 0.
  domain.memory.write(AT, new Uint8Array(8));
  domain.memory.writeU32(AT, 1_000_000);
  expect(call(24, [6, 0, AT])).toBe(0);
  expect(timers()).toMatchObject([{ vcpu: 0, oneShot: false, periodic: true }, before[1]]);
  // SET_TIMER_OP.
  expect(call(15, [5_000_000])).toBe(0);
  expect(timers()[0]).toMatchObject({ oneShot: true, periodic: true });
  const other = domain.vcpus.get(1);
  if (other !== undefined) other.down = !other.down;
  expect(timers()[1]).toEqual({ vcpu: 1, ...none, down: !before[1]?.down });
  domain.params.set(12, 5n);
  expect(domainView(domain, {}).params).toContainEqual([12, 5n]);
});

it("has nodes, watches and grants only when they are asked for", () => {
  const { domain } = makeDomain();
  const { store, domid, grantFrames } = domain;
  const path = `/local/domain/${domid}/data`;
  store.write(domid, 0, `${path}/x`, toBytes("1"));
  store.watch({ domid, path, token: "t", fire: () => undefined });
  // grant_entry_v1 of reference 512, the first of the second frame: GTF_permit_access to domain 0 of frame 0x234.
  grantFrames[1]?.write(0, Uint8Array.of(1, 0, 0, 0, 0x34, 0x02, 0, 0));
  const little = domainView(domain, {});
  expect([little.nodes, little.watches, little.grants]).toEqual([undefined, undefined, undefined]);
  const { nodes, watches, grants, grantEntries } = domainView(domain, {
    store: true,
    grants: true,
  });
  expect(nodes?.find((node) => node.path === `${path}/x`)).toMatchObject({ value: toBytes("1") });
  expect(watches).toContainEqual({ domid, path, token: "t" });
  expect(grants?.find(({ ref }) => ref === 512)).toEqual({
    ...{ ref: 512, flags: 1, domid: 0, frame: 0x234, readers: 0, writers: 0 },
  });
  expect(grants?.some(({ flags }) => flags === 0)).toBe(false);
  expect(grantEntries).toBe(512 * grantFrames.length);

  // A backend maps one to write, and reads another twice.
  grantFrames[1]?.write(8, Uint8Array.of(1, 0, 0, 0, 0x35, 0x02, 0, 0));
  domain.grants.map(grantRef(512), false);
  for (let i = 0; i < 2; i++) domain.grants.map(grantRef(513), true);
  expect(
    domainView(domain, { grants: true }).grants?.filter(({ ref }) => ref >= 512),
  ).toMatchObject([
    { ref: 512, readers: 0, writers: 1 },
    { ref: 513, readers: 2, writers: 0 },
  ]);
});
