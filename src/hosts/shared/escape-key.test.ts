import { expect, it } from "vitest";
import { CONSOLE_COMMANDS, EscapeKey } from "./escape-key.js";

const feed = (key: EscapeKey, text: string) => {
  const typed = key.feed(Buffer.from(text));
  return [Buffer.from(typed.forward).toString(), typed.commands.join(" ")];
};

it("forwards ordinary bytes", () => {
  expect(feed(new EscapeKey(CONSOLE_COMMANDS), "ls\r\x03q")).toEqual(["ls\r\x03q", ""]);
});

it("leaves at Ctrl-] q, also when they come apart", () => {
  expect(feed(new EscapeKey(CONSOLE_COMMANDS), "a\x1dqb")).toEqual(["a", "leave"]);
  const key = new EscapeKey(CONSOLE_COMMANDS);
  expect(feed(key, "a\x1d")).toEqual(["a", ""]);
  expect(feed(key, "q")).toEqual(["", "leave"]);
});

it("knows commands that are not the end, and what is typed around them", () => {
  expect(feed(new EscapeKey(CONSOLE_COMMANDS), "a\x1dpb\x1drc\x1d?d")).toEqual([
    "abcd",
    "pause reset help",
  ]);
});

it("sends one Ctrl-] for two, and both keys for another", () => {
  expect(feed(new EscapeKey(CONSOLE_COMMANDS), "\x1d\x1dq")).toEqual(["\x1dq", ""]);
  expect(feed(new EscapeKey(CONSOLE_COMMANDS), "\x1dx\x1dP")).toEqual(["\x1dx\x1dP", ""]);
});
