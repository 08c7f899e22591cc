import { expect, it } from "vitest";
import { parseScenario } from "./scenario.js";

const parse = (text: string) => [...parseScenario(Buffer.from(text, "latin1"))];

it("leaves out comments, empty lines and spaces at the end", () => {
  const steps = parse("# only this\n\n   \n  vm  # a VM\ncap 38   \nvm\0 hidden");
  expect(steps.map((step) => step.text)).toEqual(["  vm", "cap 38", "vm"]);
  expect(steps.map((step) => step.words)).toEqual([["vm"], ["cap", "38"], ["vm"]]);
});

it("divides words by spaces only, and gives bytes back as they are", () => {
  expect(parse("\tvm\r\ncap\u00e4  1")).toEqual([
    { text: "\tvm\r", words: ["\tvm\r"] },
    { text: "cap\u00e4  1", words: ["cap\u00e4", "1"] },
  ]);
});

it("looks at forty words and at lines of 65535 bytes", () => {
  expect(parse("x ".repeat(50))[0]?.words).toHaveLength(40);
  const [first, second] = parse(`${"a".repeat(65_536)}\nvm`);
  expect([first?.text.length, second?.text]).toEqual([65_535, "a"]);
});

it("reads steps when they are asked for, whatever is in the rest of the file", () => {
  const many = Buffer.alloc(16 << 20, "a\n");
  many.write("vm\n");
  const steps = parseScenario(many);
  const before = process.memoryUsage().heapUsed;
  expect(steps.next().value).toEqual({ text: "vm", words: ["vm"] });
  // All eight million steps would be gigabytes.
  expect(process.memoryUsage().heapUsed - before).toBeLessThan(64 << 20);
});
