// @ts-check
/**
 * Makes the kernels of this folder, which files.mjs damages: `node tests/hostile/kernels/make.mjs`, with the
 * programs xz, zstd and lz4. A kernel halts at once; behind that lie calls, text and noise to be packed.
 */
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { Prng } from "../../native/prng.mjs";

const PADDR = 0x200000;
const CODE_BYTES = 12000;

/** Code that halts, and what packers find something to do with: calls for the x86 filter, runs, noise. */
function code() {
  const random = new Prng("kernels");
  const bytes = Buffer.alloc(CODE_BYTES);
  bytes.set([0xfa, 0xf4, 0xeb, 0xfd]);
  for (let at = 16; at < 6000; at += 12) {
    bytes[at] = 0xe8;
    bytes.writeInt32LE(random.range(-at, CODE_BYTES - at), at + 1);
    bytes.write("text of a kernel", at + 5, 7, "latin1");
  }
  for (let at = 6000; at < 8000; at++) bytes[at] = random.u32() & 0xff;
  return bytes;
}

/** A note of Xen: name, padded, and a number of 4 bytes. */
function note() {
  const bytes = Buffer.alloc(20);
  for (const [i, word] of [4, 4, 18].entries()) bytes.writeUInt32LE(word, i * 4);
  bytes.write("Xen\0", 12, "latin1");
  bytes.writeUInt32LE(PADDR, 16);
  return bytes;
}

/** An ELF file with PT_LOAD, PT_NOTE and a SHT_NOTE section. */
function elf() {
  const [header, phdr, shdr] = [64, 56, 64];
  const body = code();
  const at = header + 2 * phdr;
  const notes = at + body.length;
  const sections = notes + 20;
  const file = Buffer.alloc(sections + 2 * shdr);
  file.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  file.writeUInt16LE(2, 16);
  file.writeUInt16LE(62, 18);
  file.writeBigUInt64LE(BigInt(header), 32);
  file.writeBigUInt64LE(BigInt(sections), 40);
  const sizes = [header, phdr, 2, shdr, 2, 0];
  for (const [i, size] of sizes.entries()) file.writeUInt16LE(size, 52 + i * 2);
  /** @param {number} i @param {number} type @param {number[]} words from p_offset on */
  const segment = (i, type, words) => {
    file.writeUInt32LE(type, header + i * phdr);
    const place = header + i * phdr + 8;
    for (const [n, word] of words.entries()) file.writeBigUInt64LE(BigInt(word), place + n * 8);
  };
  segment(0, 1, [at, PADDR, PADDR, body.length, body.length + 0x3000, 0x1000]);
  segment(1, 4, [notes, 0, 0, 20, 20, 4]);
  file.set(body, at);
  file.set(note(), notes);
  file.writeUInt32LE(7, sections + shdr + 4);
  file.writeBigUInt64LE(BigInt(notes), sections + shdr + 24);
  file.writeBigUInt64LE(20n, sections + shdr + 32);
  return file;
}

const kernel = elf();
/** @param {string} name @param {string} tool @param {string[]} args */
const pack = (name, tool, args) =>
  writeFileSync(new URL(name, import.meta.url), execFileSync(tool, args, { input: kernel }));
writeFileSync(new URL("kernel.elf", import.meta.url), kernel);
pack("kernel.gz", "gzip", ["-9n"]);
pack("kernel.xz", "xz", ["--check=crc32", "--x86", "--lzma2=preset=9,dict=32MiB"]);
pack("blocks.xz", "xz", ["--block-size=5000"]);
pack("kernel.zst", "zstd", ["-19", "-c", "--check", "-q"]);
pack("kernel.lz4", "lz4", ["-l", "-9", "-c", "-q"]);
