/**
 * No access of a guest leaves the memory of its slots. More than CI tries:
 *
 *   CANARY_INSTRUCTIONS=1e9 npx vitest run tests/escape/canary.test.ts
 */
import { expect, it } from "vitest";
import { seed } from "../../src/base/seed.fixture.js";
import { Canary, Escape } from "./canary.js";

const INSTRUCTIONS = Number(process.env["CANARY_INSTRUCTIONS"] ?? 1e7);

it(`keeps ${INSTRUCTIONS} random instructions inside the slots`, async () => {
  const canary = await Canary.create(String(seed));
  let episode = 0;
  try {
    for (; canary.instructions < INSTRUCTIONS; episode++) canary.episode(episode);
  } catch (error) {
    if (error instanceof Escape) error.message = `episode ${episode}: ${error.message}`;
    throw error;
  }
  expect(canary.instructions).toBeGreaterThanOrEqual(INSTRUCTIONS);
}, 86_400_000);
