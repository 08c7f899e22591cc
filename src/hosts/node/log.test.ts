import { expect, it } from "vitest";
import { StandardErrorLog } from "./log.js";

it("loses and counts messages that nobody reads", () => {
  const written: string[] = [];
  const output = { writableLength: 0, write: (text: string) => written.push(text) };
  const log = new StandardErrorLog(output, false);
  log.warn("one");
  output.writableLength = 300_000;
  for (let i = 0; i < 5; i++) log.warn("more");
  log.debug("not shown");
  output.writableLength = 10;
  log.warn("two");
  log.warn("three");
  expect(written).toEqual(
    ["one", "5 messages that nobody read are lost", "two", "three"].map(
      (text) => `kvm-xen: ${text}\n`,
    ),
  );
});
