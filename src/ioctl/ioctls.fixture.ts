import { assert, errnoName } from "../base/index.js";
import type { LinuxRelease } from "../kvm/index.js";
import * as kvm from "../kvm/index.js";
import { Door, field } from "./door.fixture.js";

/** Where nothing is mapped. */
const NOWHERE = 0x20000n;
const PAGE = 4096;
const AREA = 64 * PAGE;

interface Thing {
  fd: number;
  address: bigint;
  page: Uint8Array | undefined;
}

const numbers = kvm as unknown as Readonly<Record<string, unknown>>;

function requestOf(name: string): number {
  const number = numbers[name];
  return typeof number === "number" ? number : Number.parseInt(name, 16);
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
const result = (value: number): string => (value >= 0 ? ` = ${value}` : ` = -${errnoName(-value)}`);

/**
 * Plays a file of ioctls (tests/oracle/ioctls.c lists the steps) against the door, printing what the
 * C program prints on Linux.
 */
export class IoctlPlayer {
  readonly #door: Door;
  readonly #things = new Map<string, Thing>();
  readonly #area: bigint;

  private constructor(door: Door) {
    this.#door = door;
    this.#area = door.process.mapAnonymous(AREA);
  }

  static async open(linux?: LinuxRelease): Promise<IoctlPlayer> {
    return new IoctlPlayer(await Door.open(linux));
  }

  /** Plays all lines; the output has one line for each that is not empty or a comment. */
  async play(text: string): Promise<string[]> {
    const out: string[] = [];
    for (const line of text.split("\n")) {
      const words = line.split(" ").filter((word) => word !== "");
      if (words.length === 0 || words[0]?.startsWith("#")) continue;
      out.push(line + (await this.#step(words)));
    }
    return out;
  }

  #thing(name: string): Thing {
    const thing = this.#things.get(name);
    assert(thing !== undefined, `no ${name}`);
    return thing;
  }

  #add(name: string, thing: Partial<Thing>): void {
    this.#things.set(name, { fd: -1, address: 0n, page: undefined, ...thing });
  }

  #fd(name: string): number {
    return /^-?\d/.test(name) ? Number(name) : this.#thing(name).fd;
  }

  async #step(words: readonly string[]): Promise<string> {
    const [verb = "", name = "", third = "", fourth = ""] = words;
    const { process } = this.#door;
    switch (verb) {
      case "open":
        this.#add(name, { fd: this.#door.system });
        return "";
      case "eventfd":
        this.#add(name, { fd: process.createEventfd() });
        return "";
      case "memory":
        this.#add(name, { address: process.mapAnonymous(Number(third)) });
        return "";
      case "close":
        return result(process.close(this.#fd(name)));
      case "run":
        return this.#run(name, Number(third || 200));
      case "page": {
        const page = this.#thing(name).page ?? new Uint8Array(0);
        return ` = ${hex(page.subarray(Number(third), Number(third) + Number(fourth)))}`;
      }
      case "setpage":
        this.#thing(name).page?.set(Buffer.from(fourth, "hex"), Number(third));
        return "";
      case "put":
        process.write(this.#thing(name).address + BigInt(third), Buffer.from(fourth, "hex"));
        return "";
      case "get": {
        const address = this.#thing(name).address + BigInt(third);
        return ` = ${hex(process.read(address, Number(fourth)) ?? new Uint8Array(0))}`;
      }
      default:
        return this.#call(words);
    }
  }

  async #run(name: string, ms: number): Promise<string> {
    const { process, timers, clock } = this.#door;
    const { fd, page } = this.#thing(name);
    const alarm = timers.arm(clock.monotonicNs() + ms * 1e6, () => process.interrupt(fd));
    const value = await this.#door.run(fd);
    alarm.cancel();
    assert(page !== undefined, "a vCPU");
    const view = new DataView(page.buffer, page.byteOffset);
    return `${result(value)} exit=${view.getUint32(field("exit_reason"), true)}`;
  }

  #call(all: readonly string[]): string {
    const { process } = this.#door;
    const target = all[1] === "=" ? all[0] : undefined;
    const [fd = "", request = "", ...words] = target === undefined ? all : all.slice(2);
    const parts = words.filter((word) => /[:zx]/.test(word.slice(0, 3)) && !word.startsWith("="));
    let arg = 0n;
    for (const word of words) {
      if (word.startsWith("=")) arg = BigInt.asUintN(64, BigInt(word.slice(1)));
      if (word === "bad") arg = NOWHERE;
    }
    const bytes = Buffer.concat(parts.map((word) => this.#part(word)));
    const at = this.#area + BigInt(AREA - bytes.length);
    if (parts.length > 0) {
      assert(process.write(at, bytes), "argument area");
      arg = at;
    }
    const value = this.#door.call(this.#fd(fd), requestOf(request), arg);
    if (target !== undefined && value >= 0) {
      const page = process.mmap(value, 12288);
      this.#add(target, { fd: value, page: page instanceof Uint8Array ? page : undefined });
      return " = fd";
    }
    const after = process.read(at, bytes.length) ?? new Uint8Array(0);
    const changed = parts.length > 0 && hex(after) !== hex(bytes);
    return result(value) + (changed ? ` ${hex(after)}` : "");
  }

  #part(word: string): Buffer {
    if (word.startsWith("z")) return Buffer.alloc(Number(word.slice(1)));
    if (word.startsWith("x")) return Buffer.from(word.slice(1), "hex");
    const [size = "", text = ""] = word.split(":");
    const value = text.startsWith("&")
      ? this.#thing(text.slice(1)).address
      : text.startsWith("%")
        ? BigInt(this.#fd(text.slice(1)))
        : BigInt(text);
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64LE(BigInt.asUintN(64, value));
    return bytes.subarray(0, Number(size));
  }
}
