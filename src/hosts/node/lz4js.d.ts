declare module "lz4js" {
  const lz4: {
    /**
     * Decodes one raw LZ4 block of `length` bytes at `from` in `source` to `at` in `target`.
     * Returns the offset after the last byte written. Bounds of `target` are not checked.
     */
    decompressBlock(
      source: Uint8Array,
      target: Uint8Array,
      from: number,
      length: number,
      at: number,
    ): number;
  };
  export default lz4;
}
