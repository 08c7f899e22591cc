import { Code, Type } from "./code.js";
import { HANDLE } from "./state.js";

/** Puts functions of regions together to a module of WebAssembly. */

const HEADER = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0];
const Section = { TYPE: 1, IMPORT: 2, FUNCTION: 3, EXPORT: 7, CODE: 10 } as const;
const FUNCTION_TYPE = 0x60;
const EXTERNAL_FUNCTION = 0;
const EXTERNAL_MEMORY = 2;
/** Of an import: there is a maximum. */
const LIMITED = 1;

function section(whole: Code, id: number, fill: (code: Code) => void): void {
  const code = new Code();
  fill(code);
  whole.byte(id);
  whole.u32(code.length);
  whole.append(code.bytes());
}

function text(code: Code, value: string): void {
  code.u32(value.length);
  for (const letter of value) code.byte(letter.charCodeAt(0));
}

/**
 * The bytes of a module that imports the memory `env.memory` of at most `maxPages` and the function `env.handle` of two
 * i32 that gives one, and exports function n of `bodies` by the name `n`, which takes and gives as many.
 */
export function moduleOf(bodies: readonly Uint8Array[], maxPages: number): Uint8Array {
  const whole = new Code();
  for (const byte of HEADER) whole.byte(byte);
  section(whole, Section.TYPE, (code) => {
    const { I32 } = Type;
    for (const byte of [1, FUNCTION_TYPE, 2, I32, I32, 1, I32]) code.byte(byte);
  });
  section(whole, Section.IMPORT, (code) => {
    code.u32(2);
    text(code, "env");
    text(code, "handle");
    code.byte(EXTERNAL_FUNCTION);
    code.u32(0);
    text(code, "env");
    text(code, "memory");
    code.byte(EXTERNAL_MEMORY);
    code.byte(LIMITED);
    code.u32(1);
    code.u32(maxPages);
  });
  section(whole, Section.FUNCTION, (code) => {
    code.u32(bodies.length);
    for (const _ of bodies) code.u32(0);
  });
  section(whole, Section.EXPORT, (code) => {
    code.u32(bodies.length);
    for (const i of bodies.keys()) {
      text(code, String(i));
      code.byte(EXTERNAL_FUNCTION);
      code.u32(HANDLE + 1 + i);
    }
  });
  section(whole, Section.CODE, (code) => {
    code.u32(bodies.length);
    for (const body of bodies) {
      code.u32(body.length);
      code.append(body);
    }
  });
  return whole.bytes().slice();
}
