import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";

const src = fileURLToPath(new URL("../..", import.meta.url));

/** Methods of TraceSink. */
const methods = [
  ...(readFileSync(join(src, "ports/trace.ts"), "utf8")
    .split("interface TraceSink")[1]
    ?.matchAll(/^ {2}(\w+)\(/gm) ?? []),
].map(([, name]) => name ?? "");

/** Where a method of a sink is called in a text, and whether its `if` stands right before, with a plain field. */
function callsIn(text: string): { call: string; guarded: boolean }[] {
  const pattern = new RegExp(`(\\w+(?:\\.\\w+)*)\\.(${methods.join("|")})\\(`, "g");
  return [...text.matchAll(pattern)]
    .filter(([, object]) => object === "trace" || object?.endsWith(".trace"))
    .map((match) => {
      const before = text.slice(0, match.index);
      const guard = before.lastIndexOf("if (trace !== undefined");
      const between = before.slice(guard);
      // One statement, or one block that is still open.
      const opened = (between.match(/\{/g) ?? []).length - (between.match(/\}/g) ?? []).length;
      const statements = (between.match(/;/g) ?? []).length;
      const guarded = guard >= 0 && (statements === 0 || (opened === 1 && statements <= 2));
      return { call: match[0], guarded };
    });
}

it("is looked for at each place: no sink is called but behind a comparison of its field", () => {
  expect(methods.length).toBe(12);
  const files = ["kvm", "vmm"].flatMap((folder) =>
    readdirSync(join(src, folder), { recursive: true })
      .map((name) => join(src, folder, String(name)))
      .filter((name) => name.endsWith(".ts") && !name.endsWith(".test.ts")),
  );
  const texts = files.map((file) => readFileSync(file, "utf8"));
  const calls = texts.flatMap(callsIn);
  expect(calls.filter(({ guarded }) => !guarded)).toEqual([]);
  expect(new Set(calls.map(({ call }) => call.split(".").at(-1)))).toEqual(
    new Set(methods.map((name) => `${name}(`)),
  );
  // Not by helpers, nor by `?.`, which would still evaluate where the field is.
  for (const text of texts) expect(text).not.toMatch(/\btrace\?\.\w+\(/);
});

it("finds a call that is not behind one", () => {
  expect(callsIn("const { trace } = env; trace.woken(1);")).toMatchObject([{ guarded: false }]);
  expect(callsIn("if (trace !== undefined) trace.woken(1);")).toMatchObject([{ guarded: true }]);
  const two = "if (trace !== undefined) { a; } trace.woken(1);";
  expect(callsIn(two)).toMatchObject([{ guarded: false }]);
});
