/**
 * Text codecs of the Encoding Standard, which every JavaScript host has but ES2023's library files
 * leave out. Read by the compiler for the layers below `hosts/` only; where Node's types are
 * present, those declare the same.
 */
declare class TextEncoder {
  encode(text?: string): Uint8Array<ArrayBuffer>;
}

declare class TextDecoder {
  constructor(label?: string, options?: { fatal?: boolean; ignoreBOM?: boolean });
  decode(bytes?: ArrayBufferView | ArrayBuffer, options?: { stream?: boolean }): string;
}
