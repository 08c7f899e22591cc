/** A compression format of kernel images that every host undoes. */
export type CompressionFormat = "gzip" | "xz" | "zstd" | "lz4";

/** Undoes compression with the host's libraries. */
export interface Decompressors {
  /**
   * Decompresses one whole stream. `lz4` means the legacy frame format that `lz4 -l` and the Linux
   * kernel use.
   * @throws an error of any kind when the data is damaged; the caller reports it.
   */
  decompress(format: CompressionFormat, data: Uint8Array): Promise<Uint8Array>;
}
