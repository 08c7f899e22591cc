/** What a domain does with its devices, and for whom its work is. */
import { describe, expect, it } from "vitest";
import type { Backend } from "./backends/backend.js";
import type { BackendHost } from "./interfaces.js";
import { makeDomain } from "./kvm.fixture.js";
import { toText } from "./xenstore/wire.js";

/** A device that notes what it is told. */
function device(name: string, told: string[], hosts: BackendHost[] = []): Backend {
  return {
    name,
    status: () => ({ name, class: "vbd", connected: false }),
    connect: (host) => {
      told.push(`connect ${name}`);
      hosts.push(host);
    },
    reset: () => void told.push(`reset ${name}`),
    suspend: async () => undefined,
    resume: () => undefined,
    save: () => null,
    restore: () => undefined,
    unplug: async () => undefined,
    close: async () => undefined,
  };
}

describe("devices of a domain", () => {
  it("are connected, and told of another kernel, for as long as they are there", () => {
    const told: string[] = [];
    const hosts: BackendHost[] = [];
    const { domain } = makeDomain([device("a", told, hosts)]);
    expect(told.splice(0)).toEqual(["connect a"]);
    const more = device("b", told, hosts);
    domain.addDevice(more);
    expect([told.splice(0), hosts]).toEqual([["connect b"], [domain, domain]]);
    domain.softReset();
    expect(told.splice(0)).toEqual(["reset a", "reset b"]);
    domain.restore();
    expect(told.splice(0)).toEqual(["reset a", "reset b"]);
    domain.forgetDevice(more);
    domain.softReset();
    expect(told).toEqual(["reset a"]);
  });

  it("read their grants before a soft reset takes these away", () => {
    const seen: number[] = [];
    const { domain } = makeDomain([
      {
        ...device("a", []),
        reset: () => seen.push(domain.grantFrames[0]?.read(64, 1)[0] ?? -1),
      },
    ]);
    domain.grantFrames[0]?.write(64, Uint8Array.of(0x77));
    domain.softReset();
    expect(seen).toEqual([0x77]);
    expect(domain.grantFrames[0]?.read(64, 1)[0]).toBe(0);
  });
});

describe("work of devices", () => {
  const PROCESSOR_WORK = 250;

  it("is charged to the vCPU that makes the next hypercall, once", () => {
    const { domain, call, vcpus } = makeDomain();
    const work = (): number[] => vcpus.map((vcpu) => vcpu.work);
    expect(call(17, [0], { vcpu: 1 })).toBe(0x40011);
    expect(work()).toEqual([0, 0]);
    domain.charge(PROCESSOR_WORK);
    domain.charge(1);
    expect(work()).toEqual([0, 0]);
    call(17, [0], { vcpu: 1 });
    expect(work()).toEqual([0, PROCESSOR_WORK + 1]);
    call(17, [0]);
    call(17, [0], { vcpu: 1 });
    expect(work()).toEqual([0, PROCESSOR_WORK + 1]);
  });
});

describe("nodes of the guest's directory", () => {
  it("are written by the host, which the guest sees, and watched", () => {
    const { domain } = makeDomain();
    const { store, domid } = domain;
    const heard: string[] = [];
    domain.watchNode("data/updated", () => heard.push("updated"));
    // A watch fires once when it is made (docs/misc/xenstore.txt).
    const atFirst = heard.splice(0).length;
    expect(atFirst).toBeLessThanOrEqual(1);
    domain.writeNode("control/sysrq", "h");
    const read = store.read(domid, 0, `/local/domain/${domid}/control/sysrq`);
    expect(typeof read === "string" ? read : toText(read)).toBe("h");
    expect(heard).toEqual([]);
    store.write(domid, 0, `/local/domain/${domid}/data/updated`, Uint8Array.of(49));
    store.write(domid, 0, `/local/domain/${domid}/data/updated/below`, Uint8Array.of(49));
    store.write(domid, 0, `/local/domain/${domid}/data/other`, Uint8Array.of(49));
    expect(heard).toEqual(["updated", "updated"]);
    expect(() => domain.watchNode("data/updated", () => undefined)).toThrow("watched twice");
    domain.watchNode("data/other", () => undefined);
  });
});
