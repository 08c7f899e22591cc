/** The package that is published: installed into an empty folder, looked at by the tools of its users, and used. */
import { spawnSync } from "node:child_process";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { linksThatWork, pack } from "../../tools/build/pack.mjs";

const root = fileURLToPath(new URL("../../", import.meta.url));
const user = mkdtempSync(join(tmpdir(), "kvm-xen-user-"));
const installed = join(user, "node_modules/kvm-xen");
const tools = join(root, "build/package-tools");
afterAll(() => rmSync(user, { recursive: true, force: true }));

/** Runs a program in a folder; all that it said, and its status. */
function run(cwd: string, program: string, ...args: string[]) {
  const { status, stdout, stderr, error } = spawnSync(program, args, {
    cwd,
    encoding: "utf8",
    env: { ...process.env, NO_COLOR: "1", FORCE_COLOR: "0" },
  });
  return { status: error === undefined ? status : `${error}`, stdout, stderr };
}

/** The tools of tools/package, installed as its lock file says unless they are there. */
function installTools(): void {
  mkdirSync(tools, { recursive: true });
  const wanted = readFileSync(join(root, "tools/package/package-lock.json"), "utf8");
  const kept = join(tools, "package-lock.json");
  const stamp = join(tools, "node_modules/.package-lock.json");
  const isThere = existsSync(stamp) && existsSync(kept) && readFileSync(kept, "utf8") === wanted;
  if (!isThere) {
    for (const name of ["package.json", "package-lock.json"]) {
      copyFileSync(join(root, "tools/package", name), join(tools, name));
    }
    expect(run(tools, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund").status).toBe(0);
  }
}

const tool = (path: string): string => join(tools, "node_modules", path);

let file: string;
let said: { status: unknown; stdout: string; stderr: string };
beforeAll(() => {
  file = pack();
  writeFileSync(join(user, "package.json"), '{ "type": "module" }\n');
  said = run(user, "npm", "install", "--no-audit", "--no-fund", file);
  installTools();
});

/** All files of a folder, as paths from it. */
const filesOf = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1));

describe("the package", () => {
  it("is installed without a warning", () => {
    expect(said.status).toBe(0);
    expect(`${said.stdout}${said.stderr}`).toMatch(/^\s*added \d+ packages in \S+\s*$/);
  });

  it("has all that its manifest names, no source maps and no tests", () => {
    const manifest = JSON.parse(readFileSync(join(installed, "package.json"), "utf8"));
    const targets = Object.values(manifest.exports).flatMap((entry) =>
      typeof entry === "string" ? [entry] : Object.values(entry as Record<string, string>),
    );
    expect(targets.length).toBeGreaterThan(8);
    for (const target of [...targets, ...Object.values(manifest.bin)] as string[]) {
      expect(existsSync(join(installed, target)), target).toBe(true);
    }
    expect([manifest.scripts, manifest.devDependencies]).toEqual([undefined, undefined]);
    const files = filesOf(installed);
    expect(files.filter((path) => /\.map$|\.test\.|\.fixture\./.test(path))).toEqual([]);
    const withMap = files.filter(
      (path) =>
        path.endsWith(".js") &&
        !path.startsWith("dist/web") &&
        readFileSync(join(installed, path), "utf8").includes("sourceMappingURL="),
    );
    expect(withMap).toEqual([]);
  });

  it("has pages whose links lead to its own files", () => {
    const pages = filesOf(installed).filter((path) => path.endsWith(".md"));
    expect(pages.length).toBeGreaterThan(20);
    let count = 0;
    const broken = pages.flatMap((page) => {
      const text = readFileSync(join(installed, page), "utf8");
      return [...text.matchAll(/\]\(([^)\s]+)\)/g)]
        .map((match) => (match[1] ?? "").replace(/#.*$/, ""))
        .filter((target) => target !== "" && !/^[a-z]+:/.test(target))
        .filter((target) => {
          count += 1;
          return !existsSync(join(installed, dirname(page), target));
        })
        .map((target) => `${page}: ${target}`);
    });
    expect(broken).toEqual([]);
    expect(count).toBeGreaterThan(100);
  });

  it("turns links to other files into words", () => {
    const has = (path: string) => normalize(path) === "docs/a.md";
    const page = "[a](a.md#x) [b](../src/b.ts) [c](https://example.org) [d](#d)";
    expect(linksThatWork("docs/page.md", page, has)).toBe(
      "[a](a.md#x) b [c](https://example.org) [d](#d)",
    );
  });

  it("passes publint", () => {
    const { status, stdout } = run(user, "node", tool("publint/src/cli.js"), "--strict", file);
    expect(stdout).toMatch(/All good!/);
    expect(status).toBe(0);
  });

  it("passes arethetypeswrong for programs that are modules", () => {
    const attw = tool("@arethetypeswrong/cli/dist/index.js");
    // The engine's core is no module.
    const args = [file, "--profile", "esm-only", "--exclude-entrypoints", "./core.wasm"];
    const { status, stdout } = run(user, "node", attw, ...args);
    // It is not for require().
    const problems = stdout
      .split("\n")
      .filter((line) => /💀|❌|⚠️/u.test(line.replace(/\(ignored.*/, "")));
    expect(problems).toEqual([]);
    expect(stdout).toMatch(/"kvm-xen\/hosts\/node"\s*│ 🟢 \(ESM\)/u);
    expect(status).toBe(0);
  });
});

describe("docs/first-machine.md", () => {
  it("prints what it says, pasted into an empty folder", () => {
    const page = readFileSync(join(installed, "docs/first-machine.md"), "utf8");
    const block = (kind: string): string =>
      new RegExp(`^\`\`\`${kind}\\n([\\s\\S]*?)^\`\`\`$`, "m").exec(page)?.[1] ?? "";
    expect(block("sh")).toContain("npm install kvm-xen\nnode first.mjs\n");
    writeFileSync(join(user, "first.mjs"), block("js"));
    const { status, stdout, stderr } = run(user, "node", "first.mjs");
    expect(stderr).toBe("");
    expect(stdout).toBe(block("text"));
    expect(status).toBe(0);
  });
});

describe("examples/ with the Debian guest", () => {
  it.each([
    ["run-a-command.mjs", /^Linux \S+\ndone\n$/],
  ])("%s runs from the package", (name, pattern) => {
    const { status, stdout } = run(installed, "node", join("examples", name));
    expect(stdout).toMatch(pattern);
    expect(status).toBe(0);
  });
});

describe("the API reference", () => {
  it("has no export without a comment", () => {
    const { status, stdout, stderr } = run(root, "node", "tools/package/reference.mjs");
    expect(`${stdout}${stderr}`).toBe("");
    expect(status).toBe(0);
  });
});

describe("a strict program", () => {
  beforeAll(() => {
    mkdirSync(join(user, "node_modules/@types"), { recursive: true });
    const types = join(user, "node_modules/@types/node");
    if (!existsSync(types)) symlinkSync(join(root, "node_modules/@types/node"), types);
    const undici = join(user, "node_modules/undici-types");
    if (!existsSync(undici)) symlinkSync(join(root, "node_modules/undici-types"), undici);
    const manifest = JSON.parse(readFileSync(join(installed, "package.json"), "utf8"));
    const names = Object.keys(manifest.exports).filter((name) => !name.endsWith(".wasm"));
    const imports = names.map((name, i) => `import * as all${i} from "kvm-xen${name.slice(1)}";`);
    const uses = names.map((_, i) => `console.log(Object.keys(all${i}));`);
    const use = `import { createMachine, type ExecResult } from "kvm-xen/hosts/node";
export async function first(): Promise<number> {
  const machine = await createMachine({ cpus: 2 });
  const result: ExecResult = await machine.exec(["true"], { timeout: 5 });
  return result.status;
}`;
    writeFileSync(join(user, "strict.ts"), [...imports, ...uses, use, ""].join("\n"));
    const compilerOptions = {
      strict: true,
      skipLibCheck: false,
      exactOptionalPropertyTypes: true,
      noUncheckedIndexedAccess: true,
      target: "ES2023",
      module: "NodeNext",
      noEmit: true,
      types: ["node"],
    };
    const config = { compilerOptions, files: ["strict.ts"] };
    writeFileSync(join(user, "tsconfig.json"), JSON.stringify(config));
  });

  it.each([
    ["5.6", () => tool("typescript-5.6/bin/tsc")],
    ["newest", () => join(root, "node_modules/typescript/bin/tsc")],
  ])("has no errors with TypeScript %s, in the package's types neither", (_, tsc) => {
    const { status, stdout } = run(user, "node", tsc(), "-p", ".");
    expect(stdout).toBe("");
    expect(status).toBe(0);
  });
});
