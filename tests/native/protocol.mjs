// @ts-check
/** What is sent to harness.c and comes back: the structs there, byte for byte. */
import { CODE_AT, IMAGE_BYTES } from "./areas.mjs";

const MAGIC = 0x3176746e;
const HEADER_BYTES = 8;
export const CASE_BYTES = 1664;
export const RESULT_BYTES = 696;
const CHUNK_BYTES = 24;

/** Vector of a case that did not end in time. */
export const VECTOR_TIMEOUT = 0xffff;

/**
 * Bytes for the harness: base image and cases.
 * @param {ArrayLike<number>} image
 * @param {import("./types.js").TestCase[]} cases
 */
export function encodeBatch(image, cases) {
  const out = Buffer.alloc(HEADER_BYTES + IMAGE_BYTES + cases.length * CASE_BYTES);
  out.writeUInt32LE(MAGIC, 0);
  out.writeUInt32LE(cases.length, 4);
  out.set(image, HEADER_BYTES);
  const view = new DataView(out.buffer, out.byteOffset);
  cases.forEach((testCase, i) => {
    encodeCase(testCase, out, view, HEADER_BYTES + IMAGE_BYTES + i * CASE_BYTES);
  });
  return out;
}

/**
 * @param {import("./types.js").TestCase} testCase
 * @param {Buffer} out
 * @param {DataView} view
 * @param {number} at
 */
function encodeCase(testCase, out, view, at) {
  const { setup } = testCase;
  out.set(setup.fx, at);
  for (let i = 0; i < 16; i++) view.setBigUint64(at + 512 + i * 8, setup.gpr[i] ?? 0n, true);
  view.setBigUint64(at + 640, BigInt(testCase.rip), true);
  view.setBigUint64(at + 648, BigInt(setup.rflags), true);
  for (let i = 0; i < 6; i++) view.setUint16(at + 656 + i * 2, setup.seg[i] ?? 0, true);
  view.setUint32(at + 672, testCase.codeAt - CODE_AT, true);
  view.setUint32(at + 676, testCase.code.length, true);
  view.setUint32(at + 680, setup.patches.length, true);
  view.setUint32(at + 684, testCase.index >>> 0, true);
  out.set(testCase.code, at + 688);
  setup.patches.forEach((patch, i) => {
    view.setUint32(at + 960 + i * 8, patch.offset, true);
    view.setUint16(at + 964 + i * 8, patch.length, true);
    view.setUint16(at + 966 + i * 8, patch.blobAt, true);
  });
  out.set(setup.blob, at + 1024);
}

/**
 * The harness's answers: { gpr, rip, rflags, cr2, seg, vector, error, fx, changes: Map of 16-byte
 * places in the image to their bytes }.
 * @param {Buffer} bytes
 */
export function decodeResults(bytes) {
  const results = [];
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  let at = 0;
  while (at + RESULT_BYTES <= bytes.length) {
    const count = view.getUint32(at + 688, true);
    const end = at + RESULT_BYTES + count * CHUNK_BYTES;
    if (end > bytes.length) break;
    const seg = [];
    for (let i = 0; i < 6; i++) seg.push(view.getUint16(at + 664 + i * 2, true));
    const chunks = [];
    for (let i = 0; i < count; i++) {
      const chunk = at + RESULT_BYTES + i * CHUNK_BYTES;
      chunks.push({
        offset: Number(view.getBigUint64(chunk, true)),
        bytes: bytes.subarray(chunk + 8, chunk + 24),
      });
    }
    const gpr = new BigUint64Array(16);
    for (let i = 0; i < 16; i++) gpr[i] = view.getBigUint64(at + 512 + i * 8, true);
    results.push({
      fx: bytes.subarray(at, at + 512),
      gpr,
      rip: view.getBigUint64(at + 640, true),
      rflags: Number(view.getBigUint64(at + 648, true)),
      cr2: view.getBigUint64(at + 656, true),
      seg,
      vector: view.getUint32(at + 680, true),
      error: view.getUint32(at + 684, true),
      index: view.getUint32(at + 692, true),
      chunks,
    });
    at = end;
  }
  return results;
}
