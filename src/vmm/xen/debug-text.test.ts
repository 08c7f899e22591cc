import { describe, expect, it } from "vitest";
import { DebugText } from "./debug-text.js";
import { toBytes } from "./xenstore/wire.js";

function setUp() {
  const lines: string[] = [];
  const log = { debug: (line: string) => lines.push(line), warn: () => undefined };
  const text = new DebugText(log, "port");
  return { lines, text, write: (characters: string) => text.write(toBytes(characters)) };
}

describe("DebugText", () => {
  it("logs lines when they are complete, with their source, and empty ones too", () => {
    const { lines, write } = setUp();
    write("one\ntw");
    expect(lines).toEqual(["port: one"]);
    write("o\n\nx");
    expect(lines).toEqual(["port: one", "port: two", "port: "]);
  });

  it("leaves CR out, and shows what is not printable ASCII as a question mark", () => {
    const { lines, write } = setUp();
    write("a\r\n\t\x1f !~\x7f\x80\xff\x0b\x0e\n");
    expect(lines).toEqual(["port: a", "port: ?? !~?????"]);
  });

  it("breaks a line after 1,024 characters", () => {
    const { lines, write } = setUp();
    write(`${"x".repeat(1024)}`);
    expect(lines).toEqual([]);
    write("y\n");
    expect(lines).toEqual([`port: ${"x".repeat(1024)}`, "port: y"]);
  });

  it("ends with what is left of a line, once", () => {
    const { lines, text, write } = setUp();
    text.end();
    expect(lines).toEqual([]);
    write("rest");
    text.end();
    text.end();
    expect(lines).toEqual(["port: rest"]);
    write("more\n");
    expect(lines).toEqual(["port: rest", "port: more"]);
  });
});
