import type { Segment } from "./port.js";

/**
 * Attributes of a segment as the core keeps them (cpu/segments.ts): bits 40 to 47 and 52 to 55 of
 * the descriptor, as in a VMCB (AMD64 manual volume 2, table B-3).
 */
export const SegmentAttribute = {
  TYPE: 0xf,
  S: 0x10,
  DPL_SHIFT: 5,
  P: 0x80,
  AVL: 0x100,
  L: 0x200,
  DB: 0x400,
  G: 0x800,
} as const;

/** The core's attribute word of a segment. An unusable segment is not present. */
export function packAttributes(segment: Segment): number {
  const bit = (on: boolean, mask: number): number => (on ? mask : 0);
  return (
    (segment.type & SegmentAttribute.TYPE) |
    bit(segment.s, SegmentAttribute.S) |
    ((segment.dpl & 3) << SegmentAttribute.DPL_SHIFT) |
    bit(segment.present && !segment.unusable, SegmentAttribute.P) |
    bit(segment.avl, SegmentAttribute.AVL) |
    bit(segment.l, SegmentAttribute.L) |
    bit(segment.db, SegmentAttribute.DB) |
    bit(segment.g, SegmentAttribute.G)
  );
}

/** A segment from the core's four fields. */
export function unpackAttributes(
  selector: number,
  attributes: number,
  limit: number,
  base: bigint,
): Segment {
  const has = (mask: number): boolean => (attributes & mask) !== 0;
  return {
    selector,
    base,
    limit,
    type: attributes & SegmentAttribute.TYPE,
    present: has(SegmentAttribute.P),
    dpl: (attributes >> SegmentAttribute.DPL_SHIFT) & 3,
    db: has(SegmentAttribute.DB),
    s: has(SegmentAttribute.S),
    l: has(SegmentAttribute.L),
    g: has(SegmentAttribute.G),
    avl: has(SegmentAttribute.AVL),
    unusable: !has(SegmentAttribute.P),
  };
}
