/**
 * The seed of a run's random tests: `SEED=N npx vitest run ...` repeats a run. `npm test` prints it at
 * the end; a test file that is run by itself prints it when it begins.
 */
export const seed = Number(process.env["SEED"] ?? fresh());

function fresh(): number {
  const value = Math.floor(Math.random() * 2 ** 31);
  console.log(`SEED=${value}`);
  return value;
}
