/** The attacks of this folder with a fixed seed: about a million calls. See run.mjs for more. */
import { describe, expect, it } from "vitest";
import { grantRef, HostError } from "../../src/base/index.js";
import { loadEngine } from "../../src/engine/tests/guest-cpu.fixture.js";
import { decompressHere } from "../../src/hosts/node/decompress-here.js";
import * as sim from "../../src/hosts/sim/index.js";
import * as ioctl from "../../src/ioctl/index.js";
import * as kvm from "../../src/kvm/index.js";
import * as play from "../../src/play/index.js";
import * as boot from "../../src/vmm/loader/boot.js";
import { readKernel } from "../../src/vmm/loader/kernel.js";
import { Machine } from "../../src/vmm/machine/index.js";
import * as layout from "../../src/vmm/machine/layout.js";
import { Domain } from "../../src/vmm/xen/domain.js";
import { Hypercalls } from "../../src/vmm/xen/hypercalls/dispatch.js";
import { GuestPhysmap } from "../../src/vmm/xen/overlay.js";
import { targets } from "./targets.mjs";
import type { Library } from "./types.js";

/** Share of the full counts. */
const SHARE = Number(process.env["HOSTILE_SHARE"] ?? 1);

describe("nothing escapes, nothing outside the guest is touched, the VM goes on", () => {
  it.each(Object.entries(targets))("%s", { timeout: 600_000 }, async (_name, target) => {
    const engine = await loadEngine();
    const vmm = { grantRef, Domain, Hypercalls, GuestPhysmap };
    const files = { ...play, ...boot, decompressHere, HostError, Machine, readKernel };
    const lib: Library = { ...sim, ...kvm, ...ioctl, ...layout, ...vmm, ...files, engine };
    const count = Math.ceil(target.count * SHARE);
    const report = await target.attack(lib, { seed: 1, count });
    expect(report.calls).toBeGreaterThanOrEqual(count);
  });
});
