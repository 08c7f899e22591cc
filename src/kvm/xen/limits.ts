import { refuse } from "../error.js";

/** End of a client's address space (47 bits less a guard page), as access_ok sees it. */
export const USER_SPACE_END = 0x7ffffffff000n;

/** Accepts a vector that an upcall may use: none, or one above those reserved for exceptions. */
export function checkUpcallVector(vector: number): void {
  if (vector !== 0 && vector < 0x10) refuse("EINVAL", "upcall vector");
}
