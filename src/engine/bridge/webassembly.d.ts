/**
 * The few globals that every JavaScript host has but that the ES2023 library files leave out. The
 * layers below `hosts/` are compiled with these and nothing else, so a use of Node's or a browser's
 * own API there does not compile. Written after the WebAssembly JavaScript Interface and the
 * Encoding Standard; add a member when one is needed, never a host API.
 */
declare namespace WebAssembly {
  type ImportValue = ExportValue | number | bigint;
  type AnyFunction = (...args: never) => unknown;
  type ExportValue = Memory | Table | Global | AnyFunction;
  type Imports = Record<string, Record<string, ImportValue>>;
  type Exports = Record<string, ExportValue>;
  type ValueType = "i32" | "i64" | "f32" | "f64" | "v128" | "funcref" | "externref";

  class Module {
    constructor(bytes: ArrayBufferView | ArrayBuffer);
    static exports(module: Module): { name: string; kind: string }[];
    static imports(module: Module): { module: string; name: string; kind: string }[];
  }

  class Instance {
    constructor(module: Module, imports?: Imports);
    readonly exports: Exports;
  }

  class Memory {
    constructor(descriptor: { initial: number; maximum?: number; shared?: boolean });
    readonly buffer: ArrayBuffer;
    /** Adds 64 KiB pages and returns the former number of them; throws RangeError when refused. */
    grow(pages: number): number;
  }

  class Table {
    constructor(descriptor: { element: "anyfunc"; initial: number; maximum?: number });
    readonly length: number;
    get(index: number): AnyFunction | null;
    set(index: number, value: AnyFunction | null): void;
    grow(count: number): number;
  }

  class Global {
    constructor(descriptor: { value: ValueType; mutable?: boolean }, value?: number | bigint);
    value: number | bigint;
  }

  class CompileError extends Error {}
  class LinkError extends Error {}
  class RuntimeError extends Error {}

  function compile(bytes: ArrayBufferView | ArrayBuffer): Promise<Module>;
  function instantiate(module: Module, imports?: Imports): Promise<Instance>;
  function validate(bytes: ArrayBufferView | ArrayBuffer): boolean;
}
