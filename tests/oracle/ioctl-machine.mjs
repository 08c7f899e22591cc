// @ts-check

/** A small guest for random sequences of ioctls, and the lines of a file for ioctls.c that set it up. */

/**
 * @typedef {object} Machine
 * @property {"none" | "split" | "kernel"} irqchip
 * @property {32 | 64} bits flat protected mode without paging, or long mode
 * @property {boolean} user its program runs at CPL 3 with IOPL 3, under CR0.AM
 * @property {boolean} payloads KVM_CAP_EXCEPTION_PAYLOAD
 * @property {boolean} tripleFaults KVM_CAP_X86_TRIPLE_FAULT_EVENT
 * @property {readonly number[]} ends vectors whose handlers end the interrupt in the local APIC
 */

export const CODE = 0x1000;
const WARM_UP = 0x1f00;
const STACK = 0xf00;
const USER_STACK = 0xb00;
const TSS = 0x2700;
const GDT = 0x2800;
const IDT = 0x3000;
const HANDLERS = 0x4000;
const HANDLER_BYTES = 32;
const TABLES = 0x8000;
const MEMORY = 0x10000;

const EFER_LONG = 0x500;
const SELECTORS = { code: 0x08, data: 0x10, userCode: 0x1b, userData: 0x23 };

/** Vectors below this have gates, and {@link INTERRUPTS}: two of each priority class, so that some wait for each other. */
const EXCEPTIONS = 20;
export const INTERRUPTS = [0x31, 0x34, 0x41, 0x62, 0x65, 0x80, 0xa1, 0xf0];

/** Faults, whose handlers go on behind an instruction of two bytes. */
const FAULTS = [0, 6, 10, 11, 12, 13, 14, 17];
/** Exceptions that push an error code. */
export const WITH_ERROR_CODE = [8, 10, 11, 12, 13, 14, 17];

/** @param {number} value @param {number} size @returns {string} little-endian hex */
export function le(value, size) {
  let text = "";
  for (let i = 0, rest = BigInt(value); i < size; i++, rest >>= 8n)
    text += Number(rest & 0xffn)
      .toString(16)
      .padStart(2, "0");
  return text;
}

/** A local APIC's register, written with EAX. @param {Machine} machine @param {number} offset */
export const storeApic = (machine, offset) => `a3${le(0xfee00000 + offset, machine.bits / 8)}`;

/** Where the guest says that it has been everywhere, on a port of its own. */
const READY_PORT = 0x7d;

/**
 * Code that writes to every page that deliveries and programs use: KVM fills its tables at the first access, which is an
 * exit of its own, in the middle of a delivery too.
 */
function warmUp() {
  const pages = [0, TSS, IDT, HANDLERS, HANDLERS + 0x1000];
  const touch = pages.map((at) => `f0830c25${le(at & ~0xfff, 4)}00`);
  return `${touch.join("")}e6${le(READY_PORT, 1)}ebfc`;
}

/** The handler of a vector: it says its number on a port of that number. @param {Machine} machine @param {number} vector */
function handler(machine, vector) {
  const wide = machine.bits === 64 ? "48" : "";
  const drop = WITH_ERROR_CODE.includes(vector)
    ? `${wide}83c4${machine.bits === 64 ? "08" : "04"}`
    : "";
  // No RF, which QEMU's processor does not save where others do; of some faults RIP behind the instruction.
  const flags = machine.bits === 64 ? "10" : "08";
  const noRf = vector < EXCEPTIONS ? `816424${flags}fffffeff` : "";
  const skip = (FAULTS.includes(vector) ? `${wide}83042402` : "") + noRf;
  const end = machine.ends.includes(vector) ? storeApic(machine, 0xb0) : "";
  // The NOP: KVM takes an IRET for one that is not done while RIP is where it was.
  return `${drop}e6${le(vector, 1)}${skip}${end}90${wide}cf`;
}

/** @param {Machine} machine @param {number} vector @returns {string} a gate that programs may call */
function gate(machine, vector) {
  const at = HANDLERS + vector * HANDLER_BYTES;
  const gate32 = `${le(at, 2)}${le(SELECTORS.code, 2)}00ee0000`;
  return machine.bits === 64 ? gate32 + le(0, 8) : gate32;
}

/**
 * @param {number} selector
 * @param {number} type
 * @param {{ bits?: number, system?: boolean, base?: number, limit?: number }} [options]
 */
function segment(selector, type, { bits = 32, system = false, base = 0, limit = 0xffffffff } = {}) {
  const [db, long] = bits === 64 ? ["00", "01"] : ["01", "00"];
  const mode = system ? "00000000" : `${db}01${long}01`;
  return `${le(base, 8)}${le(limit, 4)}${le(selector, 2)}${le(type, 1)}01${le(selector & 3, 1)}${mode}000000`;
}

const table = (/** @type {number} */ base, /** @type {number} */ limit) =>
  `${le(base, 8)}${le(limit, 2)}${le(0, 6)}`;

/**
 * struct kvm_sregs of the machine.
 * @param {Machine} machine
 * @param {{ cr8?: number, waiting?: number | undefined }} [changes] `waiting` is a vector in the interrupt bitmap
 */
export function sregs(machine, { cr8 = 0, waiting } = {}) {
  const { bits, user } = machine;
  const data = segment(user ? SELECTORS.userData : SELECTORS.data, 3);
  const code = segment(user ? SELECTORS.userCode : SELECTORS.code, 11, { bits });
  // Not busy, as QEMU 7.2 finds its stacks only then.
  const tr = segment(0x28, 9, { system: true, base: TSS, limit: 0x67 });
  const ldt = segment(0, 2, { system: true, limit: 0xffff });
  const cr0 = (bits === 64 ? 0x80000011 : 0x11) + (user ? 0x40000 : 0);
  const controls = [cr0, 0, bits === 64 ? TABLES : 0, bits === 64 ? 0x20 : 0, cr8];
  const words = [...controls, bits === 64 ? EFER_LONG : 0, 0xfee00900];
  const bitmap = new Array(32).fill("00");
  if (waiting !== undefined) bitmap[waiting >> 3] = le(1 << (waiting & 7), 1);
  return [
    code,
    data.repeat(5),
    tr,
    ldt,
    table(GDT, 0x2f),
    table(IDT, bits === 64 ? 0xfff : 0x7ff),
    ...words.map((word) => le(word, 8)),
    bitmap.join(""),
  ].join("");
}

/** The GDT: nothing, code, data, the same for CPL 3. @param {Machine} machine */
const descriptors = ({ bits }) =>
  [
    le(0, 8),
    ...[0x9b, 0x93, 0xfb, 0xf3].map((type) => {
      const isCode = (type & 8) !== 0;
      return `ffff000000${le(type, 1)}${isCode && bits === 64 ? "af" : "cf"}00`;
    }),
  ].join("");

/** CPUID with long mode, which EFER is checked against: function, index, flags, EAX to EDX, padding. */
const CPUID = [
  [0, 0, 0, 1, 0, 0, 0],
  [1, 0, 0, 0x800f12, 0, 0x200000, 0x0783fbff, 0],
  [0x80000000, 0, 0, 0x80000008, 0, 0, 0],
  [0x80000001, 0, 0, 0x800f12, 0, 0, 0x2c100800, 0],
  [0x80000008, 0, 0, 0x3028, 0, 0, 0],
];

/**
 * The lines that set a machine up.
 * @param {Machine} machine
 * @param {string} program as hex
 */
export function setUp(machine, program) {
  const { irqchip, bits, user, payloads, tripleFaults } = machine;
  const cap = (/** @type {number} */ number, /** @type {number} */ arg) =>
    `m KVM_ENABLE_CAP 4:${number} 4:0 8:${arg} z88`;
  const put = (/** @type {number} */ at, /** @type {string} */ hex) =>
    `put l 0x${at.toString(16)} ${hex}`;
  const vectors = Array.from({ length: EXCEPTIONS }, (_, vector) => vector);
  const handlers = vectors.map((vector) =>
    handler(machine, vector).padEnd(2 * HANDLER_BYTES, "90"),
  );
  const stack = user ? USER_STACK : STACK;
  const lines = [
    "open sys",
    "m = sys KVM_CREATE_VM =0",
    irqchip === "kernel" ? "m KVM_CREATE_IRQCHIP =0" : "",
    irqchip === "split" ? cap(121, 24) : "",
    payloads ? cap(164, 1) : "",
    tripleFaults ? cap(218, 1) : "",
    `memory l 0x${MEMORY.toString(16)}`,
    `m KVM_SET_USER_MEMORY_REGION 4:0 4:0 8:0 8:0x${MEMORY.toString(16)} 8:&l`,
    put(
      TSS,
      bits === 64
        ? `${le(0, 4)}${le(STACK, 8)}`
        : `${le(0, 4)}${le(STACK, 4)}${le(SELECTORS.data, 4)}`,
    ),
    put(GDT, descriptors(machine)),
    put(IDT, vectors.map((vector) => gate(machine, vector)).join("")),
    put(HANDLERS, handlers.join("")),
    ...INTERRUPTS.flatMap((vector) => [
      put(IDT + (vector * bits) / 4, gate(machine, vector)),
      put(HANDLERS + vector * HANDLER_BYTES, handler(machine, vector)),
    ]),
    put(CODE, program),
    put(WARM_UP, warmUp()),
  ];
  if (bits === 64) {
    // The first 2 MiB, and those with the local APIC.
    lines.push(put(TABLES, le(TABLES + 0x1007, 8)), put(TABLES + 0x1000, le(TABLES + 0x2007, 8)));
    lines.push(put(TABLES + 0x1018, le(TABLES + 0x3007, 8)), put(TABLES + 0x2000, le(0x87, 8)));
    lines.push(put(TABLES + 0x3fb8, le(0xfee00087, 8)));
  }
  lines.push("v = m KVM_CREATE_VCPU =0");
  const entries = CPUID.map((words) =>
    [...words, 0, 0, 0]
      .slice(0, 10)
      .map((word) => le(word, 4))
      .join(""),
  );
  lines.push(`v KVM_SET_CPUID2 4:${CPUID.length} 4:0 x${entries.join("")}`);
  lines.push(
    `v KVM_SET_SREGS x${sregs(machine)}`,
    `v KVM_SET_REGS ${regs(machine, WARM_UP, 2, stack)}`,
    "run v 2000",
    `v KVM_SET_REGS ${regs(machine, CODE, 2, stack)}`,
  );
  return lines.filter((line) => line !== "");
}

/**
 * struct kvm_regs as words of a line.
 * @param {Machine} machine
 * @param {number} rip
 * @param {number} rflags
 * @param {number} [stack]
 */
export function regs(machine, rip, rflags, stack = machine.user ? USER_STACK : STACK) {
  const iopl = machine.user ? 0x3000 : 0;
  return `z48 8:${stack} z72 8:${rip} 8:${rflags | iopl}`;
}
