/**
 * Sets of 256 vectors as APIC registers hold them: eight 32-bit words, each 16 bytes from the
 * next. `registers` is indexed by offset / 4, `base` is the offset of the first word.
 */

/** Whether the vector is in the set. */
export function testVector(registers: Uint32Array, base: number, vector: number): boolean {
  return (((registers[wordOf(base, vector)] as number) >>> (vector & 31)) & 1) !== 0;
}

/** Adds the vector. */
export function setVector(registers: Uint32Array, base: number, vector: number): void {
  const word = wordOf(base, vector);
  registers[word] = (registers[word] as number) | (1 << (vector & 31));
}

/** Takes the vector out. */
export function clearVector(registers: Uint32Array, base: number, vector: number): void {
  const word = wordOf(base, vector);
  registers[word] = (registers[word] as number) & ~(1 << (vector & 31));
}

/** The highest vector in the set, or -1 when it is empty. */
export function highestVector(registers: Uint32Array, base: number): number {
  for (let i = 7; i >= 0; i--) {
    const word = registers[(base >> 2) + i * 4] as number;
    if (word !== 0) return i * 32 + 31 - Math.clz32(word);
  }
  return -1;
}

function wordOf(base: number, vector: number): number {
  return (base >> 2) + (vector >> 5) * 4;
}
