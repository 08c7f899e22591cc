import { describe, expect, it } from "vitest";
import { checkImports, importsOf } from "./layers.mjs";

describe("importsOf", () => {
  it("finds every form of import, and none in comments", () => {
    const text = `
      import { a } from "./a.js";
      import type {
        B,
      } from "./b.js";
      export * from "./c.js";
      export { d } from './d.js';
      import "./e.js";
      const f = await import("./f.js");
      /* import x from "./no.js" */
      // import y from "./no.js"
    `;
    expect(importsOf(text).sort()).toEqual([..."abcdef"].map((name) => `./${name}.js`));
  });
});

describe("the import rule", () => {
  const breaches: [string, string, string][] = [
    ["a leaf that imports a layer above", "base/x.ts", "../abi/kvm/index.js"],
    ["the user half behind KVM's back", "vmm/xen/x.ts", "../../kvm/run/vcpu.js"],
    ["the user half in the kernel's Xen half", "vmm/xen/x.ts", "../../kvm/xen/index.js"],
    ["the user half in the library's own KVM", "vmm/machine/instance.ts", "../../kvm/index.js"],
    ["KVM's interfaces in what implements them", "kvm/api/vm.ts", "../vm.js"],
    ["KVM in its Xen half", "kvm/system.ts", "./xen/index.js"],
    ["the engine in KVM", "engine/bridge/x.ts", "../../kvm/index.js"],
    ["a host in the machine", "hosts/node/x.ts", "../../vmm/machine/index.js"],
    ["Node below the hosts", "vmm/machine/x.ts", "node:fs"],
    ["a package below the hosts", "kvm/x.ts", "commander"],
    ["the command in KVM", "cli/x.ts", "../kvm/index.js"],
    ["something outside src", "kvm/x.ts", "../../tools/check/layers.mjs"],
    ["a folder without a rule", "other/x.ts", "./y.js"],
  ];
  it.each(breaches)("notices %s", (_name, path, wanted) => {
    const problems = checkImports(path, `import { x } from "${wanted}";`);
    expect(problems).toHaveLength(1);
    expect(problems[0]).toContain(path);
  });

  const allowed: [string, string][] = [
    ["abi/xen/x.ts", "../../base/index.js"],
    ["abi/xen/x.ts", "../boot/elf.js"],
    ["kvm/x.ts", "../engine/bridge/port.js"],
    ["kvm/index.ts", "./xen/index.js"],
    ["kvm/xen/x.ts", "../hooks.js"],
    ["vmm/machine/x.ts", "../../kvm/api/index.js"],
    ["vmm/machine/own-kvm.ts", "../../kvm/index.js"],
    ["kvm/x.ts", "./api/vm.js"],
    ["vmm/machine/x.ts", "../xen/domain.js"],
    ["hosts/node/x.ts", "node:fs"],
    ["kvm/x.test.ts", "vitest"],
    ["kvm/x.test.ts", "../hosts/sim/index.js"],
    ["cli/x.ts", "../vmm/machine/index.js"],
  ];
  it.each(allowed)("allows %s to import %s", (path, wanted) => {
    expect(checkImports(path, `import { x } from "${wanted}";`)).toEqual([]);
  });
});
