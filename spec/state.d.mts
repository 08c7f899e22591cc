/**
 * The state of one virtual processor, as it lies in linear memory. The block of the vCPU that runs
 * is at CPU; the others wait in save areas of the same layout. Offsets follow from the order here:
 * each field starts at the next multiple of its alignment.
 *
 * A row: [name, type, count, meaning]. Types: u8 u16 u32 u64 x80 (16 bytes) v128.
 */
export declare const CPU_BLOCK: (string | number)[][];
/** Where things lie in linear memory below the first guest byte. Each starts where the last ends. */
export declare const LAYOUT: (string | number)[][];
