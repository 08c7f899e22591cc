import { describe, expect, it } from "vitest";
import { Store } from "../xenstore/store.js";
import { toBytes } from "../xenstore/wire.js";
import { FrontendNodes } from "./nodes.js";

/**
 * What a backend understands of a guest's nodes: numbers are decimal and of 32 bits, as grant references and ports
 * are; a value of more than 64 bytes is none of those that drivers write.
 */
const PLACE = "/local/domain/1/device/vbd/51712";

function nodesWith(value: string | undefined): FrontendNodes {
  const store = new Store();
  if (value !== undefined) store.write(0, 0, `${PLACE}/key`, toBytes(value));
  return new FrontendNodes(store, PLACE);
}

describe("a number in a frontend's node", () => {
  it.each([
    ["0", 0],
    ["7", 7],
    ["51712", 51712],
    ["0000000008", 8],
    ["4294967295", 2 ** 32 - 1],
  ])("%s is one", (text, number) => {
    const nodes = nodesWith(text);
    const all = [nodes.number("key"), nodes.grantRef("key"), nodes.port("key")];
    expect(all).toEqual([number, number, number]);
    expect(nodes.has("key")).toBe(true);
  });

  it.each([
    ...[undefined, "", "x", "-1", "+1", "1.5", "1e3", "0x8", " 8", "8 ", "8\n", "8\0", "8x", "x8"],
    ...["4294967296", "9999999999", "00000000008", "18446744073709551616"],
  ])("%j is none", (text) => {
    const nodes = nodesWith(text);
    const all = [nodes.number("key"), nodes.grantRef("key"), nodes.port("key")];
    expect(all).toEqual([undefined, undefined, undefined]);
    expect(nodes.has("key")).toBe(text !== undefined);
  });
});

describe("a text in a frontend's node", () => {
  it.each(["", "x86_64-abi", "x".repeat(64)])("%j is what is written there", (text) => {
    expect(nodesWith(text).text("key")).toBe(text);
  });

  it.each([undefined, "x".repeat(65)])("is none where it is %s", (text) => {
    expect(nodesWith(text).text("key")).toBeUndefined();
  });
});
