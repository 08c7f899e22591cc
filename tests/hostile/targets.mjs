// @ts-check
/** What can be attacked, with the number of calls that the tests make: a million in all. */
import { attackApi } from "./api.mjs";
import { attackCode } from "./code.mjs";
import { attackFiles } from "./files.mjs";
import { attackHypercalls } from "./hypercall.mjs";
import { attackIoctls } from "./ioctl.mjs";
import { attackVmm } from "./vmm.mjs";

export const targets = {
  api: { attack: attackApi, count: 150000 },
  ioctl: { attack: attackIoctls, count: 350000 },
  hypercall: { attack: attackHypercalls, count: 250000 },
  vmm: { attack: attackVmm, count: 220000 },
  files: { attack: attackFiles, count: 10000 },
  code: { attack: attackCode, count: 30000 },
};
