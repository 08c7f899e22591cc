/** Uses of grants in exact snapshots. */
import { bool, integer, struct, u32, type ValueOf } from "../../snapshot/codec.js";
import type { KeptGrant } from "../interfaces.js";

/** A use of a grant. */
export const grantLayer = struct({ ref: u32, readonly: bool, gfn: integer(0, 2 ** 40 - 1) });

/** A use of a grant as a file has it. @throws TypeError for one that has ended: no file has that. */
export function keptGrant(kept: KeptGrant | undefined): ValueOf<typeof grantLayer> {
  if (kept === undefined) throw new TypeError("a grant whose use has ended");
  const { ref, readonly, gfn } = kept;
  return { ref, readonly, gfn };
}
