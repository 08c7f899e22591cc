/** Compares claims about headers with what gcc says of them. */
import { evaluate, type HeaderSet, type Width } from "./gcc.js";
import type { Claim } from "./walk.js";

/** What a comparison found. */
export interface Comparison {
  /** Claims that a header confirmed. */
  readonly same: number;
  /** `label: ours 1, libxen-dev 2`. */
  readonly different: string[];
  /** Claims about names that no header of the sets has. */
  readonly unknown: Claim[];
  /** Claims that only a later set of headers could decide. */
  readonly newer: Claim[];
}

function values(set: HeaderSet, claims: readonly Claim[]): Map<Claim, bigint | undefined> {
  const found = new Map<Claim, bigint | undefined>();
  for (const width of [64, 32] as const satisfies readonly Width[]) {
    const mine = claims.filter((claim) => claim.width === width);
    const answers = evaluate(
      set,
      mine.map((claim) => claim.expression),
      width,
    );
    mine.forEach((claim, i) => {
      found.set(claim, answers[i]);
    });
  }
  return found;
}

/** C has unsigned ints where JavaScript's shifts give negative numbers. */
const equal = (ours: bigint, theirs: bigint): boolean =>
  ours === theirs ||
  (ours >> 31n === 0x1ffffffffn && theirs >> 32n === 0n && BigInt.asUintN(32, ours) === theirs);

/** Compares all claims with each set of headers; each must be decided by one of them. */
export function compare(claims: readonly Claim[], sets: readonly HeaderSet[]): Comparison {
  const answers = sets.map((set) => values(set, claims));
  const result: Comparison = { same: 0, different: [], unknown: [], newer: [] };
  let same = 0;
  for (const claim of claims) {
    const theirs = answers.map((map) => map.get(claim));
    if (theirs.every((value) => value === undefined)) result.unknown.push(claim);
    else if (theirs[0] === undefined) result.newer.push(claim);
    theirs.forEach((value, i) => {
      if (value === undefined) return;
      if (equal(claim.value, value)) same++;
      else {
        const which = `${claim.expression} of ${sets[i]?.name}`;
        result.different.push(`${claim.label}: ours ${claim.value}, ${which} ${value}`);
      }
    });
  }
  return { ...result, same };
}
