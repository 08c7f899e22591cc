import { describe, expect, it } from "vitest";
import { checkExtension } from "./caps.js";
import { linuxRules } from "./linux.js";

/** What Linux 6.12 answers on AMD, on /dev/kvm: capability and value, 0 for all others up to 299. */
const LINUX =
  "0:1 1:1 2:1 3:1 4:1 6:1 7:1 8:1 9:1 10:32764 11:1 12:1 14:1 15:2 16:1 21:1 22:1 23:1 24:1 " +
  "25:4096 26:1 30:1 31:32 32:1 33:1 34:1 35:1 36:1 37:1 38:511 39:14 40:1 41:1 44:1 45:1 46:1 " +
  "47:1 50:1 51:1 54:1 55:1 56:1 59:1 61:1 66:4096 72:1 74:7 76:1 77:1 81:1 82:1 89:1 95:1 96:1 " +
  "97:1 98:1 100:1 105:1 116:1 117:1 118:2 121:1 122:1 123:1 127:1 128:16384 129:3 136:1 143:15 " +
  "148:1 149:1 153:1 154:1 155:1 157:4224 159:1 161:1 162:1 164:1 167:1 168:3 173:1 182:1 183:1 " +
  "184:1 187:1 188:1 189:1 190:1 191:1 192:1048576 195:2031619 196:1 197:1 199:1 200:1 201:4096 " +
  "203:1 204:1 206:1 208:4096 209:1 213:2047 215:1 218:1 220:1 223:1048576 226:1 231:1 232:1 " +
  "233:8 234:1 235:1 236:1 237:1 238:1";

/** What this library lacks, and says so: by subject, capabilities and the value here. */
const ABSENT: Readonly<Record<string, readonly (readonly [number, number])[]>> = {
  "Hyper-V": [44, 45, 46, 96, 123, 148, 149, 154, 155, 161, 199].map((cap) => [cap, 0]),
  "system management mode": [
    [117, 0],
    [118, 0],
  ],
  "nested virtualization": [[157, 0]],
  PMU: [
    [173, 0],
    [226, 0],
  ],
  "dirty rings": [
    [192, 0],
    [223, 0],
  ],
  "SGX, SEV": [
    [196, 0],
    [197, 0],
    [206, 0],
  ],
  "details of failed emulation, system events": [
    [204, 0],
    [215, 0],
  ],
  "guest_memfd and memory attributes": [
    [232, 0],
    [233, 0],
    [234, 0],
  ],
};

describe("KVM_CHECK_EXTENSION", () => {
  it("answers as Linux, and 0 for what is not there", () => {
    const expected = new Map<number, number>();
    for (const pair of LINUX.split(" ")) {
      const [cap, value] = pair.split(":").map(Number);
      expected.set(cap as number, value as number);
    }
    for (const [cap, value] of Object.values(ABSENT).flat()) expected.set(cap, value);
    const different: string[] = [];
    for (let cap = 0; cap < 300; cap++) {
      const [ours, theirs] = [checkExtension(cap, linuxRules("6.12")), expected.get(cap) ?? 0];
      if (ours !== theirs) different.push(`${cap}: ${ours}, not ${theirs}`);
    }
    expect(different).toEqual([]);
  });
});
