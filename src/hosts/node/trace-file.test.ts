import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { openTraceFile, TraceFile } from "./trace-file.js";

const folder = mkdtempSync(join(tmpdir(), "kvm-xen-trace-"));
afterAll(() => rmSync(folder, { recursive: true }));

it("writes lines", () => {
  const path = join(folder, "lines");
  const file = new TraceFile(openTraceFile(path), path, () => undefined);
  file.write("one\n");
  file.write("two\n");
  file.close();
  expect(readFileSync(path, "utf8")).toBe("one\ntwo\n");
});

it("keeps what is there until the trace begins", () => {
  const path = join(folder, "earlier");
  writeFileSync(path, "an earlier trace\n");
  const file = new TraceFile(openTraceFile(path), path, () => undefined);
  expect(readFileSync(path, "utf8")).toBe("an earlier trace\n");
  file.begin();
  expect(readFileSync(path, "utf8")).toBe("");
  file.write("one\n");
  file.close();
  expect(readFileSync(path, "utf8")).toBe("one\n");
});

it("says once that the disk is full", () => {
  const said: string[] = [];
  const file = new TraceFile(openTraceFile("/dev/full"), "t.txt", (line) => said.push(line));
  for (let i = 0; i < 3; i++) file.write("line\n");
  file.close();
  expect(said).toEqual(["t.txt: the disk is full: the trace ends here, the rest goes on"]);
});

it("refuses a folder that is not there", () => {
  expect(() => openTraceFile(join(folder, "none", "t.txt"))).toThrow("there is no such folder");
});
