// @ts-check
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { folders } from "./folders.mjs";
import { tryFolder } from "./hunt.mjs";

const usage = `usage: npm run mutants -- [FOLDER...] [--sample N] [--seed N] [--seconds N] [--files TEXT]
  FOLDER       ${Object.keys(folders).join(", ")} (all of them)
  --sample N   only N mutants of each folder, drawn by the seed; fails below the folder's floor
  --seed N     repeats a sample (or the variable SEED)
  --seconds N  stops after that time; the next run goes on. Folders run side by side
  --quick MS   shows a mutant cases of MS milliseconds together; what none of them notices counts as survived,
               and is shown the others by a later run with more time
  --files TEXT only mutants in files whose path holds TEXT
  --new        only mutants that have not been tried, and then survivors: what was noticed once is not shown again
  --cases RE   only cases whose name matches
  --keep       writes what is known into tools/mutants/kept`;

async function main() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      sample: { type: "string" },
      seed: { type: "string" },
      seconds: { type: "string" },
      quick: { type: "string", default: "Infinity" },
      files: { type: "string", default: "" },
      cases: { type: "string", default: "" },
      new: { type: "boolean", default: false },
      keep: { type: "boolean", default: false },
      help: { type: "boolean", short: "h" },
    },
  });
  if (values.help) return console.log(usage);
  const unknown = positionals.find((name) => folders[name] === undefined);
  if (unknown !== undefined) throw new Error(`mutants: no folder ${unknown}\n${usage}`);
  const chosen = positionals.length > 0 ? positionals : Object.keys(folders);
  const seed = Number(values.seed ?? process.env["SEED"] ?? Date.now() % 2 ** 31);
  if (values.sample !== undefined) console.log(`mutants: seed ${seed}`);
  const start = Date.now();
  const budget = values.seconds === undefined ? Infinity : Number(values.seconds) * 1000;
  const sample = values.sample === undefined ? {} : { sample: Number(values.sample) };
  const { files, quick, keep, new: isNew } = values;
  const cases = new RegExp(values.cases);
  const options = { seed, files, quick: Number(quick), cases, keep, isNew, ...sample };
  // As many folders side by side as there are processors; every row of them has its share of the time.
  const width = Math.max(1, availableParallelism());
  const rows = Math.ceil(chosen.length / width);
  for (let row = 0; row < rows; row++) {
    const deadline = start + (budget * (row + 1)) / rows;
    const folders = chosen.slice(row * width, (row + 1) * width);
    const reports = await Promise.all(
      folders.map((folder) => tryFolder(folder, { ...options, deadline })),
    );
    for (const { good, text } of reports) {
      console.log(text);
      if (!good) process.exitCode = 1;
    }
  }
}

await main();
