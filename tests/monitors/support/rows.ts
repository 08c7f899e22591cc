/** Whether everything is to be run (`npm run test:monitors -- --all`), or what CI has time for. */
const isFull = process.env["KVM_XEN_MONITORS"] === "all";

/** The rows of this run: those marked `full` belong to the full matrix only. */
export const rowsOf = <T extends object>(rows: readonly (T & { readonly full?: boolean })[]) =>
  rows.filter(({ full }) => isFull || full !== true);
