import { expect, it } from "vitest";
import { LeaveKey } from "./leave-key.js";

const feed = (key: LeaveKey, text: string) => {
  const typed = key.feed(Buffer.from(text));
  return [Buffer.from(typed.forward).toString(), typed.leave];
};

it("forwards ordinary bytes", () => {
  expect(feed(new LeaveKey(), "ls\r\x03q")).toEqual(["ls\r\x03q", false]);
});

it("leaves at Ctrl-] q, also when they come apart", () => {
  expect(feed(new LeaveKey(), "a\x1dqb")).toEqual(["a", true]);
  const key = new LeaveKey();
  expect(feed(key, "a\x1d")).toEqual(["a", false]);
  expect(feed(key, "q")).toEqual(["", true]);
});

it("sends one Ctrl-] for two, and both keys for another", () => {
  expect(feed(new LeaveKey(), "\x1d\x1dq")).toEqual(["\x1dq", false]);
  expect(feed(new LeaveKey(), "\x1dx")).toEqual(["\x1dx", false]);
});
