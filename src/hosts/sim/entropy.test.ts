import { expect, it } from "vitest";
import { SeededEntropy } from "./entropy.js";

const draw = (entropy: SeededEntropy, count: number) => {
  const bytes = new Uint8Array(count);
  entropy.fill(bytes);
  return bytes;
};

it("gives the same bytes for the same seed, and others for another", () => {
  expect(draw(new SeededEntropy(), 64)).toEqual(draw(new SeededEntropy(), 64));
  expect(draw(new SeededEntropy(1), 64)).not.toEqual(draw(new SeededEntropy(2), 64));
  expect(new Set(draw(new SeededEntropy(0), 4096)).size).toBeGreaterThan(200);
});

it("goes on where it was", () => {
  const entropy = new SeededEntropy();
  expect(draw(entropy, 16)).not.toEqual(draw(entropy, 16));
});
