import { describe, expect, it } from "vitest";
import { runstateMembers, sharedInfoMembers } from "./structures.js";

const memberOf = (members: readonly { name: string; value: string }[], name: string) =>
  members.find((member) => member.name === name)?.value;

describe("shared pages as structures", () => {
  it("names the ports of a bitmap, whichever are fewer, and not too many", () => {
    const page = new Uint8Array(4096);
    const pending = () => memberOf(sharedInfoMembers(page, true), "evtchn_pending");
    expect(pending()).toBe("none");
    page[0x800] = 0b1010;
    page[0x9ff] = 0x80;
    expect(pending()).toBe("1 3 4095");
    page.fill(0xff, 0x800, 0xa00);
    expect(pending()).toBe("all 4096");
    page[0x801] = 0xfe;
    expect(pending()).toBe("all but 8");
    page.fill(0xff, 0x800, 0x804).fill(0, 0x804, 0xa00);
    expect(pending()).toMatch(/^0 1 .* 23 and 8 more$/);
  });

  it("has the layouts of 32-bit guests", () => {
    const page = new Uint8Array(4096);
    page[0x880] = 4;
    new DataView(page.buffer).setUint32(0x924, 0, true);
    new DataView(page.buffer).setUint32(0x904, 86400, true);
    const members = sharedInfoMembers(page, false);
    expect(memberOf(members, "evtchn_mask")).toBe("2");
    expect(memberOf(members, "wc_sec")).toContain("1970-01-02T00:00:00");
    const area = new DataView(new ArrayBuffer(44));
    area.setUint32(0, 2, true);
    area.setBigUint64(4, (1n << 63n) | 77n, true);
    area.setBigUint64(28, 5n, true);
    const runstate = runstateMembers(new Uint8Array(area.buffer), false);
    expect(memberOf(runstate, "state")).toBe("2 (blocked)");
    expect(memberOf(runstate, "state_entry_time")).toBe("77 ns (an update is under way)");
    expect(memberOf(runstate, "time[blocked]")).toBe("5 ns");
  });

  it("takes any bytes", () => {
    const page = new Uint8Array(4096).fill(0xff);
    expect(memberOf(sharedInfoMembers(page, true), "wc_sec")).toBe("4294967295");
  });
});
