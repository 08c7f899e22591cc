import type { makeDomain } from "../kvm.fixture.js";

/** Where the tests put arguments. */
export const AT = 0x5000;
/** `DOMID_SELF`. */
export const SELF = 0x7ff0;

/** A field of a structure. */
export type Field = readonly [size: 1 | 2 | 4 | 8, value: number | bigint];

/** Writes fields one after the other at their natural alignment; answers the address. */
export function put(
  domain: ReturnType<typeof makeDomain>["domain"],
  fields: readonly Field[],
): number {
  let at = AT;
  for (const [size, value] of fields) {
    at = Math.ceil(at / size) * size;
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setBigUint64(0, BigInt.asUintN(64, BigInt(value)), true);
    domain.memory.write(at, bytes.subarray(0, size));
    at += size;
  }
  return AT;
}

/** add_to_physmap of a page, as a 64-bit guest asks for it. */
export function addToPhysmap(
  test: ReturnType<typeof makeDomain>,
  space: number,
  idx: number | bigint,
  gpfn: number | bigint,
  domid = SELF,
): number {
  const fields: Field[] = [
    [2, domid],
    [2, 0],
    [4, space],
    [8, idx],
    [8, gpfn],
  ];
  return test.call(12, [7, put(test.domain, fields)]);
}
