// @ts-check
import { inCi, machineHas } from "./machine.mjs";

/**
 * Everything that may be skipped. A skip that is not listed fails; so does one that is listed, has no
 * reason here and is skipped, or has a reason here and is not.
 * @typedef {object} Skip
 * @property {string} run the report of tools/check/run.mjs that has the tests (`unit`, `boot`), or the
 *   step as a whole
 * @property {RegExp} [test] the file and the name of the tests, as in `a/b.test.ts > group > test`; all of
 *   the step, when there is none
 * @property {readonly import("./machine.mjs").Need[]} needs skipped where one of these is missing
 * @property {true} [evenInCi] may be missing in CI too
 */

/** @type {readonly Skip[]} */
export const skips = [
  { run: "embedded guest", needs: ["an assembler"] },
  { run: "nodes", needs: ["the newest Node"] },
  { run: "browser", needs: ["Chromium", "a C compiler"] },
  { run: "exec", needs: ["a C compiler"] },
  { run: "selftests", needs: ["a C compiler"] },
  {
    run: "devices",
    needs: ["QEMU", "the program depmod", "the tools of ext4", "libslirp", "the program sqlite3"],
  },
  {
    run: "devices",
    test: /^tests\/devices\/debian(-kill)?\.test\.ts > /,
    needs: ["the programs that make and reach a Debian"],
  },
  {
    run: "devices",
    test: /^tests\/devices\/image-user\.test\.ts > /,
    needs: ["a user who makes a Debian"],
  },
  {
    run: "devices",
    test: /^tests\/devices\/net-host\.test\.ts > passt /,
    needs: ["the program passt"],
  },
  // Namespaces and interfaces are for root, of a kernel that has them; the report says when one is missing.
  {
    run: "devices",
    test: /^tests\/devices\/net-host\.test\.ts > passt /,
    needs: ["a network of its own"],
    evenInCi: true,
  },
  {
    run: "devices",
    test: /^tests\/devices\/net-host\.test\.ts > .* interface /,
    needs: ["interfaces of its own (/dev/net/tun)"],
    evenInCi: true,
  },
  { run: "monitors", needs: ["QEMU", "a C compiler", "the program depmod", "the program gdb"] },
  {
    run: "monitors",
    test: /^tests\/monitors\/qemu-debian\.test\.ts > /,
    needs: ["the programs that make and reach a Debian"],
  },
  {
    run: "boot",
    test: /^tests\/boot\/gdb\.test\.ts > gdb > /,
    needs: ["the program gdb"],
  },
  {
    run: "monitors",
    test: /^tests\/monitors\/qemu-kvm\.test\.ts > the host's \/dev\/kvm is out of reach$/,
    needs: ["a covered /dev/kvm"],
    evenInCi: true,
  },
  {
    run: "monitors",
    test: /^tests\/monitors\/libvirt\.test\.ts > .* > (virsh capabilities |qemu:\/\/\/system)/,
    needs: ["the program libvirtd", "to be root"],
    evenInCi: true,
  },
  {
    run: "monitors",
    test: /^tests\/monitors\/libvirt\.test\.ts > .* > qemu:\/\/\/session/,
    needs: ["the program libvirtd"],
  },
  {
    run: "monitors",
    test: /^tests\/monitors\/programs\.test\.ts > stress-ng > /,
    needs: ["the program stress-ng"],
  },
  {
    run: "monitors",
    test: /^tests\/monitors\/programs\.test\.ts > kvm-ioctls: /,
    needs: ["the program cargo"],
  },
  {
    run: "monitors",
    test: /^tests\/monitors\/programs\.test\.ts > libguestfs-test-tool /,
    needs: ["the program libguestfs-test-tool"],
  },
  {
    run: "monitors",
    test: /^tests\/monitors\/programs\.test\.ts > virtme-ng: /,
    needs: ["to be root"],
    evenInCi: true,
  },
  {
    run: "unit",
    test: /^src\/exec\/program\.test\.ts > (tells programs with more rights than|copies a preload library that only root)/,
    needs: ["to be root"],
    evenInCi: true,
  },
  {
    run: "unit",
    test: /^src\/hosts\/node\/network\/libslirp\.test\.ts > libslirp > /,
    needs: ["libslirp"],
  },
  { run: "unit", test: /^src\/hosts\/node\/cpio\.test\.ts > .* cpio/, needs: ["the program cpio"] },
  ...["xz", "zstd", "lz4"].map((tool) => ({
    run: "unit",
    test: new RegExp(
      `^src/hosts/(node/decompress-here\\.test\\.ts > decompress > '?|browser/.* > undo )${tool}\\b`,
    ),
    needs: [/** @type {import("./machine.mjs").Need} */ (`the program ${tool}`)],
  })),
  {
    run: "unit",
    test: /^src\/hosts\/node\/decompress\.test\.ts > '?xz'? data/,
    needs: ["the program xz"],
  },
  {
    run: "unit",
    test: /^tests\/headers\/headers\.test\.ts > what gcc says > /,
    needs: [
      "a C compiler",
      "an assembler",
      "the headers of Linux and Xen",
      "the headers of Debian's next release",
    ],
  },
  {
    run: "unit",
    test: /^tests\/native\/(native|comparison)\.test\.ts > (the engine agrees|the comparison > )/,
    needs: ["Linux on x86-64", "a C compiler"],
  },
  {
    run: "unit",
    test: /^tests\/save-restore\/.* > the guest is what its source says$/,
    needs: ["an assembler"],
  },
  {
    run: "snapshots",
    test: /^tests\/snapshots\/exact\.test\.ts > the guest is what its source says$/,
    needs: ["an assembler"],
  },
  { run: "boot", test: /^tests\/boot\/programs\.test\.ts > /, needs: ["a C compiler"] },
  { run: "boot", test: /^tests\/boot\/terminal\.test\.ts > /, needs: ["the program script"] },
  {
    run: "boot",
    test: /^tests\/boot\/host-troubles\.test\.ts > .* > a file that may not be read: /,
    needs: ["to be root"],
    evenInCi: true,
  },
  {
    run: "boot",
    test: /^tests\/boot\/host-troubles\.test\.ts > .* > a guest runs without \/proc$/,
    needs: ["mounts of its own"],
    evenInCi: true,
  },
  {
    run: "exec",
    test: /^tests\/exec\/found\.test\.ts > .*(another user|other users|a user who may open|no mount point)/,
    needs: ["to be root"],
    evenInCi: true,
  },
  {
    run: "exec",
    test: /^tests\/exec\/client\.test\.ts > '?rights'? sees .* > (user|root)$/,
    needs: ["to be root"],
    evenInCi: true,
  },
];

/**
 * What of a skip's needs this machine does not have.
 * @param {Skip} skip
 * @param {(need: import("./machine.mjs").Need) => boolean} has
 */
const missing = (skip, has) => skip.needs.filter((need) => !has(need));

/**
 * Why a whole step cannot run here, or undefined.
 * @param {string} run
 */
export function stepSkipped(run) {
  const skip = skips.find((one) => one.run === run && one.test === undefined);
  const lacks = skip && missing(skip, machineHas);
  return lacks?.length ? lacks.join(", ") : undefined;
}

/**
 * What is wrong with the skips of a run of vitest.
 * @param {string} run
 * @param {{ tests: readonly string[], skipped: readonly string[] }} report names of all tests, and of those
 *   that were skipped
 * @param {readonly Skip[]} [list]
 * @param {(need: import("./machine.mjs").Need) => boolean} [has]
 * @param {boolean} [ci] nothing may be missing
 * @returns {string[]}
 */
export function skipProblems(run, report, list = skips, has = machineHas, ci = inCi) {
  const problems = [];
  const here = list.filter((skip) => skip.run === run && skip.test !== undefined);
  const explained = new Set();
  for (const skip of here) {
    const matching = report.tests.filter((name) => skip.test?.test(name));
    const lacks = missing(skip, has);
    if (matching.length === 0) problems.push(`the list of skips names no test: ${skip.test}`);
    for (const name of matching) {
      const isSkipped = report.skipped.includes(name);
      if (isSkipped && lacks.length > 0) explained.add(name);
      if (!isSkipped && lacks.length > 0)
        problems.push(`listed, but not skipped without ${lacks.join(", ")}: ${name}`);
    }
    if (ci && lacks.length > 0 && !skip.evenInCi)
      problems.push(`not in CI: ${skip.test} lacks ${lacks.join(", ")}`);
  }
  for (const name of report.skipped) {
    if (!explained.has(name)) problems.push(`skipped without being on the list: ${name}`);
  }
  return problems;
}
