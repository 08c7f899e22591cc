import { KvmError } from "../kvm/index.js";
import { Argument } from "./argument.js";
import type { ClientProcess } from "./client-process.js";

/** What a C structure can do for a row; `Struct` of the ABI fits. */
interface Codec<T, I> {
  readonly size: number;
  decode(bytes: Uint8Array): T;
  encode(value: I): Uint8Array;
}

/** What a call returned: the ioctl's result when it is a number, else the result is 0. */
type Outcome = unknown;

/** One ioctl: what it does with its target and argument. */
export interface Row<Target> {
  /** The header's name. */
  readonly name: string;
  readonly call: (target: Target, arg: Argument) => Outcome;
}

/** ioctls by number. */
export type Table<Target> = ReadonlyMap<number, Row<Target>>;

/** A table entry: number and row. */
export type Entry<Target> = readonly [number, Row<Target>];

/** An ioctl with an argument of its own kind. */
export function raw<T>(
  request: number,
  name: string,
  call: (target: T, arg: Argument) => Outcome,
): Entry<T> {
  return [request, { name, call }];
}

/** An ioctl whose argument is a number. */
export function takes<T>(
  request: number,
  name: string,
  call: (target: T, value: bigint) => Outcome,
): Entry<T> {
  return raw(request, name, (target, arg) => call(target, arg.value));
}

/** An ioctl that reads a structure. The copy comes first: EFAULT before every other refusal. */
export function reads<T, V, I>(
  request: number,
  name: string,
  codec: Codec<V, I>,
  call: (target: T, value: V, arg: Argument) => Outcome,
): Entry<T> {
  return raw(request, name, (target, arg) => call(target, codec.decode(arg.read(codec.size)), arg));
}

/** An ioctl that writes a structure; its old content does not matter. */
export function writes<T, V, I>(
  request: number,
  name: string,
  codec: Codec<V, I>,
  call: (target: T) => I,
): Entry<T> {
  return raw(request, name, (target, arg) => arg.write(codec.encode(call(target))));
}

/** An ioctl that reads a structure and writes it back with changes. */
export function updates<T, V, I>(
  request: number,
  name: string,
  codec: Codec<V, I>,
  call: (target: T, value: V) => I,
): Entry<T> {
  return raw(request, name, (target, arg) => {
    const value = codec.decode(arg.read(codec.size));
    arg.write(codec.encode(call(target, value)));
  });
}

/** Runs a call and turns a refusal into -errno. Anything else that is thrown is a defect. */
export function answer(call: () => Outcome): number {
  try {
    const result = call();
    return typeof result === "number" ? result : 0;
  } catch (error) {
    if (error instanceof KvmError) return -error.errno;
    throw error;
  }
}

/** Answers one ioctl from a table; `unknown` is the answer to a number that is not in it. */
export function dispatch<T>(
  table: Table<T>,
  target: T,
  client: ClientProcess,
  request: number,
  arg: bigint | Uint8Array,
  unknown: number,
): number {
  const row = table.get(request >>> 0);
  if (row === undefined) return unknown;
  return answer(() => row.call(target, new Argument(client, arg)));
}
