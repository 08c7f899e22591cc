/** The registers that gdb is told of: features of its own for the i386 family, and one for what else a kernel has. */
import { Fxsave } from "../abi/x86/index.js";
import type { KvmRegs, KvmSregs } from "../kvm/index.js";
import type { DebugTarget } from "../vmm/machine/index.js";

/** A register of the description. */
interface Register {
  readonly name: string;
  readonly bits: 32 | 64 | 80 | 128;
  readonly type: string;
  readonly group?: string;
  /** Its value, little-endian. */
  read(from: State): bigint;
  /** Undefined: it stays as it is, whatever is written. */
  write?(to: State, value: bigint): void;
}

/** The registers of a vCPU, read once and written once. */
interface State {
  readonly regs: KvmRegs;
  readonly sregs: KvmSregs;
  readonly fpu: DataView;
  /** Which of them were written. */
  readonly changed: Set<"regs" | "sregs" | "fpu">;
}

type Plain = { -readonly [K in keyof KvmRegs]: KvmRegs[K] };

const general = (name: keyof KvmRegs, type = "int64"): Register => ({
  ...{ name, bits: 64, type },
  read: ({ regs }) => regs[name],
  write: ({ regs, changed }, value) => {
    (regs as Plain)[name] = value;
    changed.add("regs");
  },
});

const GENERAL = [
  ...(["rax", "rbx", "rcx", "rdx", "rsi", "rdi"] as const).map((name) => general(name)),
  ...[general("rbp", "data_ptr"), general("rsp", "data_ptr")],
  ...(["r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"] as const).map((name) => general(name)),
  general("rip", "code_ptr"),
];

const FLAGS: Register = {
  ...{ name: "eflags", bits: 32, type: "i386_eflags" },
  read: ({ regs }) => regs.rflags & 0xffffffffn,
  write: ({ regs, changed }, value) => {
    (regs as Plain).rflags = value;
    changed.add("regs");
  },
};

/** Selectors are shown only: a selector without its hidden part makes no sense. */
const SEGMENTS = (["cs", "ss", "ds", "es", "fs", "gs"] as const).map(
  (name): Register => ({
    ...{ name, bits: 32, type: "int32" },
    read: ({ sregs }) => BigInt(sregs[name].selector),
  }),
);

const { ST, XMM, MXCSR } = Fxsave;

function image(name: string, at: number, bytes: 4 | 10 | 16, type: string): Register {
  return {
    ...{ name, type, bits: (bytes * 8) as 32 | 80 | 128 },
    read({ fpu }) {
      let value = 0n;
      for (let i = bytes - 1; i >= 0; i--) value = (value << 8n) | BigInt(fpu.getUint8(at + i));
      return value;
    },
    write({ fpu, changed }, value) {
      for (let i = 0; i < bytes; i++)
        fpu.setUint8(at + i, Number((value >> BigInt(i * 8)) & 0xffn));
      changed.add("fpu");
    },
  };
}

/** fctrl, fstat, ftag, fiseg, fioff, foseg, fooff, fop: shown, not written. */
const FPU_CONTROL = [
  ["fctrl", (fpu) => fpu.getUint16(Fxsave.FCW, true)],
  ["fstat", (fpu) => fpu.getUint16(Fxsave.FSW, true)],
  ["ftag", fullTags],
  ["fiseg", () => 0],
  ["fioff", (fpu) => fpu.getUint32(Fxsave.FIP, true)],
  ["foseg", () => 0],
  ["fooff", (fpu) => fpu.getUint32(Fxsave.FDP, true)],
  ["fop", (fpu) => fpu.getUint16(Fxsave.FOP, true)],
] satisfies [string, (fpu: DataView) => number][];

/** The tag word as FSTENV has it, of the bits that say "not empty": 0 valid or special, 3 empty. */
function fullTags(fpu: DataView): number {
  const used = fpu.getUint8(Fxsave.FTW);
  let tags = 0;
  for (let i = 0; i < 8; i++) if (((used >> i) & 1) === 0) tags |= 3 << (i * 2);
  return tags;
}

const FPU: Register[] = [
  ...Array.from({ length: 8 }, (_, i) => image(`st${i}`, ST + i * 16, 10, "i387_ext")),
  ...FPU_CONTROL.map(
    ([name, get]): Register => ({
      ...{ name, bits: 32, type: "int", group: "float" },
      read: ({ fpu }) => BigInt(get(fpu)),
    }),
  ),
];

const SSE: Register[] = [
  ...Array.from({ length: 16 }, (_, i) => image(`xmm${i}`, XMM + i * 16, 16, "vec128")),
  { ...image("mxcsr", MXCSR, 4, "i386_mxcsr"), group: "vector" },
];

const BASES = (["fs", "gs"] as const).map(
  (name): Register => ({
    ...{ name: `${name}_base`, bits: 64, type: "int" },
    read: ({ sregs }) => sregs[name].base,
    write: ({ sregs, changed }, value) => {
      sregs[name].base = value;
      changed.add("sregs");
    },
  }),
);

const SYSTEM = (["cr0", "cr2", "cr3", "cr4", "cr8", "efer"] as const).map(
  (name): Register => ({
    ...{ name, bits: 64, type: "int64", group: "system" },
    read: ({ sregs }) => sregs[name],
  }),
);

/** All, by gdb's feature, in the order of their numbers. */
const FEATURES: readonly (readonly [string, readonly Register[]])[] = [
  ["org.gnu.gdb.i386.core", [...GENERAL, FLAGS, ...SEGMENTS, ...FPU]],
  ["org.gnu.gdb.i386.sse", SSE],
  ["org.gnu.gdb.i386.segments", BASES],
  ["org.kvm-xen.system", SYSTEM],
];

const ALL = FEATURES.flatMap(([, registers]) => registers);

/** Types that gdb does not know by itself. */
const TYPES: Readonly<Record<string, string>> = {
  "org.gnu.gdb.i386.core": `<flags id="i386_eflags" size="4">${[
    ...["CF:0", ":1", "PF:2", "AF:4", "ZF:6", "SF:7", "TF:8", "IF:9", "DF:10", "OF:11", "NT:14"],
    ...["RF:16", "VM:17", "AC:18", "VIF:19", "VIP:20", "ID:21"],
  ]
    .map((flag) => flag.split(":"))
    .map(([name, bit]) => `<field name="${name}" start="${bit}" end="${bit}"/>`)
    .join("")}</flags>`,
  "org.gnu.gdb.i386.sse": `<vector id="v4f" type="ieee_single" count="4"/><vector id="v2d" type="ieee_double" count="2"/><vector id="v16i8" type="int8" count="16"/><vector id="v8i16" type="int16" count="8"/><vector id="v4i32" type="int32" count="4"/><vector id="v2i64" type="int64" count="2"/><union id="vec128"><field name="v4_float" type="v4f"/><field name="v2_double" type="v2d"/><field name="v16_int8" type="v16i8"/><field name="v8_int16" type="v8i16"/><field name="v4_int32" type="v4i32"/><field name="v2_int64" type="v2i64"/><field name="uint128" type="uint128"/></union><flags id="i386_mxcsr" size="4">${[
    ...["IE", "DE", "ZE", "OE", "UE", "PE", "DAZ", "IM", "DM", "ZM", "OM", "UM", "PM"],
  ]
    .map((name, bit) => `<field name="${name}" start="${bit}" end="${bit}"/>`)
    .join("")}<field name="FZ" start="15" end="15"/></flags>`,
};

/** The description that gdb asks for. */
export const TARGET_XML = `<?xml version="1.0"?><!DOCTYPE target SYSTEM "gdb-target.dtd"><target version="1.0"><architecture>i386:x86-64</architecture>${FEATURES.map(
  ([name, registers]) =>
    `<feature name="${name}">${TYPES[name] ?? ""}${registers
      .map(
        (one) =>
          `<reg name="${one.name}" bitsize="${one.bits}" type="${one.type}"${one.group === undefined ? "" : ` group="${one.group}"`}/>`,
      )
      .join("")}</feature>`,
).join("")}</target>`;

/** All registers in hex: what `g` answers. */
export function readAll(target: DebugTarget, cpu: number): string {
  const state = load(target, cpu);
  return ALL.map((register) => toHex(register.read(state), register.bits / 8)).join("");
}

/** Sets all registers: `G`. False when there are not enough digits. */
export function writeAll(target: DebugTarget, cpu: number, hex: string): boolean {
  const state = load(target, cpu);
  let at = 0;
  for (const register of ALL) {
    const digits = register.bits / 4;
    const value = fromHex(hex.slice(at, at + digits), register.bits / 8);
    if (value === undefined) return false;
    if (value !== register.read(state)) register.write?.(state, value);
    at += digits;
  }
  store(target, cpu, state);
  return true;
}

/** One register in hex; undefined when there is none of that number. */
export function readOne(target: DebugTarget, cpu: number, number: number): string | undefined {
  const register = ALL[number];
  if (register === undefined) return undefined;
  return toHex(register.read(load(target, cpu)), register.bits / 8);
}

/** Sets one register. False when it does not exist or cannot be set. */
export function writeOne(target: DebugTarget, cpu: number, number: number, hex: string): boolean {
  const register = ALL[number];
  const value = register && fromHex(hex, register.bits / 8);
  if (register?.write === undefined || value === undefined) return false;
  const state = load(target, cpu);
  register.write(state, value);
  store(target, cpu, state);
  return true;
}

function load(target: DebugTarget, cpu: number): State {
  const fpu = target.fpu(cpu);
  return {
    ...{ regs: target.regs(cpu), sregs: target.sregs(cpu), changed: new Set() },
    fpu: new DataView(fpu.buffer, fpu.byteOffset, fpu.byteLength),
  };
}

function store(target: DebugTarget, cpu: number, { regs, sregs, fpu, changed }: State): void {
  if (changed.has("regs")) target.setRegs(cpu, regs);
  if (changed.has("sregs")) target.setSregs(cpu, sregs);
  if (changed.has("fpu")) {
    target.setFpu(cpu, new Uint8Array(fpu.buffer, fpu.byteOffset, fpu.byteLength));
  }
}

function toHex(value: bigint, bytes: number): string {
  let text = "";
  for (let i = 0; i < bytes; i++) {
    text += Number((value >> BigInt(i * 8)) & 0xffn)
      .toString(16)
      .padStart(2, "0");
  }
  return text;
}

function fromHex(hex: string, bytes: number): bigint | undefined {
  if (hex.length !== bytes * 2 || !/^[0-9a-fA-F]*$/.test(hex)) return undefined;
  let value = 0n;
  for (let i = bytes - 1; i >= 0; i--) {
    value = (value << 8n) | BigInt(Number.parseInt(hex.slice(i * 2, i * 2 + 2), 16));
  }
  return value;
}
