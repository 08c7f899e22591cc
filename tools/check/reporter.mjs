// @ts-check
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";

/**
 * A reporter for vitest that writes a {@link import("./report.mjs").Report} to the file that
 * KVM_XEN_REPORT names.
 */
export default class {
  /**
   * @param {readonly import("vitest/node").TestModule[]} modules
   * @param {readonly unknown[]} errors outside of tests
   */
  onTestRunEnd(modules, errors) {
    /** @type {import("./report.mjs").Report} */
    const report = { tests: [], failed: [], skipped: [], secondTries: [], broken: errors.length };
    for (const module of modules) {
      let failed = 0;
      for (const test of module.children.allTests()) {
        const name = `${module.relativeModuleId} > ${test.fullName}`;
        const { state } = test.result();
        report.tests.push(name);
        if (state === "skipped") report.skipped.push(name);
        if (state !== "passed" && state !== "skipped") {
          report.failed.push(name);
          failed++;
        }
        const retries = test.diagnostic()?.retryCount ?? 0;
        if (retries > 0) report.secondTries.push(`${name} (${retries + 1} tries)`);
      }
      // A file that did not load, or a hook that failed.
      if (module.state() === "failed" && failed === 0) report.broken++;
    }
    const file = process.env["KVM_XEN_REPORT"] ?? "";
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, JSON.stringify(report));
  }
}
