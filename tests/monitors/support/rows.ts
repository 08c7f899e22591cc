import { it } from "vitest";
import { machineHas, type Need } from "../../../tools/check/machine.mjs";

/** Whether everything is to be run (`npm run test:monitors -- --all`), or what CI has time for. */
export const isFull = process.env["KVM_XEN_MONITORS"] === "all";

/** The rows of this run: those marked `full` belong to the full matrix only. */
export const rowsOf = <T extends object>(rows: readonly (T & { readonly full?: boolean })[]) =>
  rows.filter(({ full }) => isFull || full !== true);

/** What one row may take. */
const ROW_MS = 300_000;

/**
 * A test of the full matrix only, skipped where the machine lacks what it needs.
 * @param times as long as other rows it may take
 */
export const itInFull = (
  name: string,
  test: () => Promise<void>,
  needs: readonly Need[] = [],
  times = 1,
): void => {
  if (isFull) it.runIf(needs.every(machineHas))(name, test, times * ROW_MS);
};
