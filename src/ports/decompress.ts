/** A compression format of kernel images that every host undoes. */
export type CompressionFormat = "gzip" | "xz" | "zstd" | "lz4";

/** Undoes compression with the host's libraries. */
export interface Decompressors {
  /**
   * Decompresses one whole stream to `limit` bytes at most: no more memory than that is used for the result,
   * whatever the data claim. `lz4` means the legacy frame format that `lz4 -l` and the Linux kernel use.
   * May take seconds near a GiB: a host does it beside, so that everything else of this process goes on.
   * @throws HostError `UNPACKED_TOO_LARGE` when there would be more than `limit` bytes; `COMPRESSED_DATA` when
   * the data is damaged; `HOST_MEMORY` when the host has too little memory.
   */
  decompress(format: CompressionFormat, data: Uint8Array, limit: number): Promise<Uint8Array>;
}
