import xzDecompress from "xz-decompress";
import { concat } from "./bytes.js";
import { damaged } from "./compressed-data.js";

/** Output after which other work of this process gets its turn, in bytes. */
const TURN = 4 << 20;

/**
 * Decodes one plain xz file (LZMA2 only) by the library, until there are more than `limit` bytes: the caller
 * knows how many there shall be.
 * @throws HostError `COMPRESSED_DATA` when it is damaged.
 */
export async function decodePlainXz(file: Uint8Array, limit: number): Promise<Uint8Array> {
  const source = new ReadableStream<Uint8Array>({
    start(controller) {
      controller.enqueue(file);
      controller.close();
    },
  });
  const parts: Uint8Array[] = [];
  let total = 0;
  let turn = TURN;
  try {
    for await (const part of new xzDecompress.XzReadableStream(source)) {
      parts.push(part);
      total += part.length;
      if (total > limit) break;
      if (total < turn) continue;
      turn = total + TURN;
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
  } catch (cause) {
    throw damaged("xz", "it is damaged", cause);
  }
  return concat(parts);
}
