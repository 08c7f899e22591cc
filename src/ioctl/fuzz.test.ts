import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Errno } from "../base/index.js";
import { seed } from "../base/seed.fixture.js";
import * as kvm from "../kvm/index.js";
import { Door } from "./door.fixture.js";

const requests = Object.entries(kvm)
  .filter(([name, value]) => /^KVM_/.test(name) && typeof value === "number" && value > 0xae00)
  .map(([, value]) => value as number);

const knownErrors = new Set<number>(Object.values(Errno));

const byte = fc.oneof(fc.constantFrom(0, 0, 0, 0, 1, 2, 0xff), fc.integer({ min: 0, max: 255 }));
const argument = fc.oneof(
  fc.uint8Array({ maxLength: 700 }),
  fc.array(byte, { maxLength: 600 }).map((list) => Uint8Array.from(list)),
  fc.bigInt({ min: 0n, max: 0xffffffffffffffffn }),
  fc.constantFrom(0n, 1n, 8n, 0x7f0000000000n, 0xffffffffffffffffn),
);
const call = fc.record({
  file: fc.integer({ min: -1, max: 8 }),
  request: fc.oneof(fc.constantFrom(...requests), fc.integer({ min: 0, max: 0xffffffff })),
  arg: argument,
});

describe("hostile arguments", () => {
  it("every call answers with a number or an errno that has a name", async () => {
    const door = await Door.open();
    await fc.assert(
      fc.asyncProperty(fc.array(call, { minLength: 1, maxLength: 30 }), async (calls) => {
        const vm = door.vm();
        door.call(vm, kvm.KVM_CREATE_IRQCHIP);
        const ram = door.slot(vm, 0, 0, 0x10000, 1);
        const vcpu = door.vcpu(vm);
        const files = [door.system, vm, vcpu.fd, vm, vcpu.fd, vm, vcpu.fd, 0, 999];
        for (const { file, request, arg } of calls) {
          if (request === kvm.KVM_RUN) continue;
          const result = await door.process.ioctl(files[file] ?? -1, request, arg);
          expect(Number.isInteger(result)).toBe(true);
          if (result < 0) expect(knownErrors.has(-result), `${result}`).toBe(true);
        }
        const stop = (): void => door.process.interrupt(vcpu.fd);
        const alarm = door.timers.arm(door.clock.monotonicNs() + 1e5, stop);
        expect([0, -Errno.EINTR, -Errno.EAGAIN, -Errno.EINVAL]).toContain(await door.run(vcpu.fd));
        alarm.cancel();
        for (let fd = 3; fd < 40; fd++) if (fd !== door.system) door.process.close(fd);
        door.process.unmap(ram, 0x10000);
      }),
      { numRuns: 20, seed },
    );
  });
});
