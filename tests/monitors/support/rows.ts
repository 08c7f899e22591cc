import { it } from "vitest";

/** Whether everything is to be run (`npm run test:monitors -- --all`), or what CI has time for. */
export const isFull = process.env["KVM_XEN_MONITORS"] === "all";

/** The rows of this run: those marked `full` belong to the full matrix only. */
export const rowsOf = <T extends object>(rows: readonly (T & { readonly full?: boolean })[]) =>
  rows.filter(({ full }) => isFull || full !== true);

/** A test of the full matrix only. */
export const itInFull = (name: string, test: () => Promise<void>): void => {
  if (isFull) it(name, test);
};
