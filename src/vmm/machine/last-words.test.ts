import { expect, it } from "vitest";
import { LastWords } from "./last-words.js";

function setUp(showsDetails = false) {
  const warned: string[] = [];
  const details: string[] = [];
  const log = {
    warn: (text: string) => warned.push(text),
    debug: (text: string) => details.push(text),
    showsDetails,
  };
  return { words: new LastWords(log), warned, details };
}

it("tells what was written for debugging, once", () => {
  const { words, warned, details } = setUp();
  words.debug("console_io: one");
  words.debug("debug port: two");
  expect(details).toEqual(["console_io: one", "debug port: two"]);
  expect(warned).toEqual([]);
  words.tell();
  words.tell();
  expect(warned.slice(1)).toEqual(["console_io: one", "debug port: two"]);
});

it("keeps 64 KiB, the newest", () => {
  const { words, warned } = setUp();
  for (let i = 0; i < 10_000; i++) words.debug(`line ${i}`);
  words.tell();
  expect(warned.at(-1)).toBe("line 9999");
  const size = warned.slice(1).join(" ").length;
  expect(size).toBeLessThanOrEqual(65_536);
  expect(size).toBeGreaterThan(65_000);
});

it("does not repeat what was shown", () => {
  const { words, warned } = setUp(true);
  words.debug("text");
  words.tell();
  expect(warned).toEqual([]);
});
