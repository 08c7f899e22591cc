import { describe, expect, it } from "vitest";
import { parsePorts } from "./port-option.js";

describe("--port", () => {
  it("names files and sockets, in any order", () => {
    expect(parsePorts(["hvc2=unix:a=b,c.sock", "hvc1=/tmp/a=b"])).toEqual([
      { number: 1, file: "/tmp/a=b" },
      { number: 2, socket: "a=b,c.sock" },
    ]);
  });

  it.each([
    [["hvc0=a"], "makes no sense"],
    [["hvc8=a"], "makes no sense"],
    [["hvc1"], "makes no sense"],
    [["hvc1="], "makes no sense"],
    [["hvc1=unix:"], "makes no sense"],
    [["ttyS0=a"], "makes no sense"],
    [["hvc1=a", "hvc1=b"], "--port hvc1 is there twice"],
    [["hvc2=a"], "--port hvc2 needs hvc1, too"],
    [["hvc1=a", "hvc3=a"], "--port hvc3 needs hvc2, too"],
  ])("refuses %j", (texts, message) => {
    expect(() => parsePorts(texts)).toThrow(expect.objectContaining({ code: "USAGE" }));
    expect(() => parsePorts(texts)).toThrow(message);
  });
});
