// @ts-check

/**
 * The folders of `src/` whose mutants are tried, with the cases that may notice them.
 * @typedef {object} Folder
 * @property {boolean} scenarios the recorded scenarios of tests/vectors are asked first
 * @property {string[]} tests folders whose unit tests are asked
 * @property {number} goal percent of all mutants that must be noticed; 0 where it is only reported
 * @property {number} floor percent of a sample below which it fails: what there is, less what chance may make
 */

/** @type {Record<string, Folder>} */
export const folders = {
  "kvm/xen": { scenarios: true, tests: ["src/kvm", "src/ioctl"], goal: 90, floor: 88 },
  "vmm/xen": { scenarios: false, tests: ["src/vmm", "tests/xenstored"], goal: 90, floor: 85 },
  "kvm/irq": { scenarios: true, tests: ["src/kvm", "src/ioctl"], goal: 0, floor: 0 },
  "kvm/run": { scenarios: true, tests: ["src/kvm", "src/ioctl"], goal: 0, floor: 0 },
};
