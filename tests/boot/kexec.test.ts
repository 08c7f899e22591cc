import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Ended, runCli } from "./support/cli.js";
import { kernelPath, kernels, workFolder, writeInitramfs } from "./support/guests.js";
import { kexecEntries } from "./support/kexec.js";

const folder = workFolder();
afterAll(() => folder.remove());

/** An initramfs with kexec and the kernel to start. */
async function initramfs(kernel: string): Promise<string> {
  const data = readFileSync(kernel);
  return writeInitramfs(folder.path, "kexec", [
    ...(await kexecEntries()),
    { kind: "folder", path: "boot" },
    { kind: "file", path: "boot/vmlinuz", mode: 0o644, data },
  ]);
}

/** Values of the lines `E name LEFT value`, by how many kernels were to come. */
function told(ended: Ended, name: string): Record<string, string> {
  const lines = [...ended.stdout.matchAll(new RegExp(`^E ${name} (\\d+) ([^\\r\\n]*)`, "gm"))];
  return Object.fromEntries(lines.map((match) => [match[1], match[2]?.trim()]));
}

describe.each(kernels)("kexec of Debian's kernel %s", (name) => {
  let kernel: string;
  let files: string[];
  beforeAll(async () => {
    kernel = await kernelPath(name);
    files = ["--kernel", kernel, "--initrd", await initramfs(kernel)];
  });

  it.each([
    ["a second kernel on one CPU, loaded by kexec_file_load", 1, 1, "-s"],
    ["a second and a third on two CPUs, loaded by kexec_load", 2, 2, "-c"],
  ])("starts %s", async (_title, times, cpus, how) => {
    const append = `panic=-1 cryptomgr.notests kexecs=${times} kexec=${how} console=hvc0`;
    const size = ["--memory", "384M", "--cpus", `${cpus}`, "--clock", "virtual"];
    const limit = ["--timeout", "590"];
    const ended = await runCli(["run", ...files, "--append", append, ...size, ...limit]);
    expect(ended.stdout).toMatch(/^E done/m);
    expect(ended.status).toBe(0);
    const each = (value: string) =>
      Object.fromEntries(Array.from({ length: times + 1 }, (_, left) => [left, value]));
    const release = told(ended, "kernel")[0]?.split(" ")[0] ?? "";
    expect(release).toContain(name);
    expect(told(ended, "kernel")).toEqual(each(`${release} Xen HVM`));
    expect(told(ended, "cpus")).toEqual(each(`${cpus}`));
    expect(told(ended, "sleep")).toEqual(each("1"));
    expect(told(ended, "acpi")).toEqual(each("APIC DSDT FACP data dynamic"));
    expect(Object.values(told(ended, "clocksource")).join(" ")).toMatch(/^(xen|tsc)( (xen|tsc))+$/);
    expect(ended.stderr).toBe("");
  });
});
