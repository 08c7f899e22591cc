import { defineConfig } from "vitest/config";
import { MUTANTS } from "./translator-mutants.mjs";

const mutant = MUTANTS[Number(process.env["KVM_XEN_MUTANT"] || Number.NaN)];

/** The comparisons of the paths, with one of the mistakes in the translator: mutants.mjs runs it. */
export default defineConfig({
  plugins: [
    {
      name: "mutant",
      enforce: "pre",
      transform(code, id) {
        if (mutant === undefined || !id.endsWith(`/src/engine/jit/${mutant.file}`))
          return undefined;
        // In a function: a dollar of the text stands for itself.
        return { code: code.replace(mutant.from, () => mutant.to), map: null };
      },
    },
  ],
  test: { include: ["tests/compiled/**/*.test.ts"], maxWorkers: 1, bail: 1 },
});
