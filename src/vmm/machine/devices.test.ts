import { expect, it } from "vitest";
import type { Backend } from "../xen/backends/backend.js";
import { MachineDevices } from "./devices.js";

/** A device whose guest lets go of it when the test says so. */
function fakeDevice(name: string, log: string[]) {
  let letGo = (): void => undefined;
  const note = (what: string) => (): void => void log.push(`${what} ${name}`);
  const device: Backend = {
    name,
    status: () => ({ name, class: "vbd", connected: false }),
    connect: note("connect"),
    reset: note("reset"),
    suspend: async () => note("suspend")(),
    resume: note("resume"),
    save: () => null,
    restore: note("restore"),
    close: async () => note("close")(),
    unplug: () => {
      note("unplug")();
      return new Promise((resolve) => {
        letGo = resolve;
      });
    },
  };
  return { device, letGo: () => letGo() };
}

function setUp() {
  const log: string[] = [];
  const domain = {
    addDevice: (device: Backend) => void log.push(`added ${device.name}`),
    forgetDevice: (device: Backend) => void log.push(`forgotten ${device.name}`),
  };
  const a = fakeDevice("a", log);
  const b = fakeDevice("b", log);
  return { log, domain, a, b, devices: new MachineDevices([a.device]) };
}

const names = (devices: MachineDevices) => devices.status.map(({ name }) => name);

it("a device that comes later is one of them, and no two have the same name", async () => {
  const { log, domain, a, b, devices } = setUp();
  devices.add(b.device, domain);
  expect([log, names(devices)]).toEqual([["added b"], ["a", "b"]]);
  const refusal = expect.objectContaining({ code: "DEVICE_NAME" });
  expect(() => devices.add(a.device, domain)).toThrow(refusal);
  expect(() => new MachineDevices([a.device, a.device])).toThrow(refusal);
  await expect(devices.remove("c", domain)).rejects.toEqual(refusal);
  await expect(devices.resize("c", 1)).rejects.toEqual(refusal);
  await expect(devices.resize("b", 1)).rejects.toMatchObject({ code: "DISK_SIZE" });
});

it("a device leaves when the guest lets go of it; it is asked once", async () => {
  const { log, domain, a, devices } = setUp();
  const removals = [devices.remove("a", domain), devices.remove("a", domain)];
  await Promise.resolve();
  expect([log.splice(0), names(devices)]).toEqual([["unplug a"], ["a"]]);
  a.letGo();
  await Promise.all(removals);
  expect([log.splice(0), names(devices)]).toEqual([["forgotten a", "close a"], []]);
  await devices.close();
  expect(log).toEqual([]);
});

it("a device that the guest keeps leaves with the guest", async () => {
  const { log, domain, b, devices } = setUp();
  devices.add(b.device, domain);
  const removal = devices.remove("a", domain);
  await devices.suspend();
  await devices.dropLeaving();
  await removal;
  devices.resume();
  expect(log.splice(0)).toEqual([
    ...["added b", "unplug a", "suspend a", "suspend b", "close a", "resume b"],
  ]);
  expect(names(devices)).toEqual(["b"]);
  const last = devices.remove("b", domain);
  await devices.close();
  await last;
  expect(log).toEqual(["unplug b", "suspend b", "close b"]);
});

it("a device that cannot be closed well is told to whoever removed it, and to nobody else", async () => {
  const { domain, a, b, devices } = setUp();
  const trouble = Object.assign(new Error("what the guest wrote is no archive"), {
    code: "NO_TAR",
  });
  devices.add({ ...b.device, close: () => Promise.reject(trouble) }, domain);
  const removal = devices.remove("b", domain);
  b.letGo();
  await expect(removal).rejects.toBe(trouble);
  expect(names(devices)).toEqual(["a"]);
  devices.add({ ...b.device, close: () => Promise.reject(trouble) }, domain);
  const kept = devices.remove("b", domain);
  const failed = expect(kept).rejects.toBe(trouble);
  // A reboot goes on without it.
  await devices.dropLeaving();
  await failed;
  // All others are closed before the end is told.
  let closed = false;
  const slow = async (): Promise<void> => {
    await new Promise((resolve) => setTimeout(resolve, 5));
    closed = true;
  };
  devices.add({ ...b.device, close: () => Promise.reject(trouble) }, domain);
  devices.add({ ...a.device, name: "c", close: slow }, domain);
  await expect(devices.close()).rejects.toBe(trouble);
  expect(closed).toBe(true);
});
