// @ts-check
/**
 * What KVM for AMD makes of the guest's CPUID beside answering CPUID: instructions that it hides by intercept, and
 * bits of registers and MSRs that it lets exist only with a feature. A row runs the same code with the
 * feature in the vCPU's table, without it, and before KVM_SET_CPUID2; what comes of it is in `set`, `clear` and `none`.
 * guest-cpuid.out is what Linux 6.12 answered to the rows that were asked (record.mjs); the rule of the others
 * was read where `read` says. tests/reference/guest-cpuid.test.ts plays all rows.
 *
 * Outcomes: "done", "#UD", "#GP", or a number that the code read back.
 */

/** A bit of CPUID: `leaf:index REGISTER bit`, numbers as the manuals write them. @typedef {[name: string, bit: string]} Feature */

/**
 * @typedef {object} GuestCpuidRow
 * @property {string} what instruction, or register and bit
 * @property {Feature} [feature] without: no bit of CPUID rules it
 * @property {string} set the bit is set
 * @property {string} clear there is a table, and the bit is not set
 * @property {string} none before KVM_SET_CPUID2
 * @property {string[]} code machine code for 32-bit protected mode, in hexadecimal; AL is shown when `value`
 * @property {boolean} [value] the outcome is AL, not "done"
 * @property {string[]} [besides] other bits of the table, in both states
 * @property {string} [read] where the rule was read, when Linux could not be asked, and why
 * @property {string} [note]
 */

const hex = (/** @type {number} */ value, bytes = 4) =>
  Array.from({ length: bytes }, (_, i) =>
    ((value >>> (8 * i)) & 255).toString(16).padStart(2, "0"),
  ).join("");

const movEax = (/** @type {number} */ value) => `b8${hex(value)}`;
const movEcx = (/** @type {number} */ value) => `b9${hex(value)}`;
const movEdx = (/** @type {number} */ value) => `ba${hex(value)}`;
/** Sets a bit of CR4, which was 0. */
const cr4 = (/** @type {number} */ bit) => [movEax(2 ** bit), "0f22e0"];
const rdmsr = (/** @type {number} */ index) => [movEcx(index), "0f32"];
const wrmsr = (/** @type {number} */ index, low = 0, high = 0) => [
  movEcx(index),
  movEax(low),
  movEdx(high),
  "0f30",
];
/** XSETBV of XCR0, with CR4.OSXSAVE. */
const xsetbv = (/** @type {number} */ value) => [
  ...cr4(18),
  "31c9",
  "31d2",
  movEax(value),
  "0f01d1",
];

const XSAVE = "1:0 ECX 26";
const SPEC_CTRL = 0x48;
const EFER = 0xc0000080;
const TSC_AUX = 0xc0000103;

/**
 * @param {string} what
 * @param {string} feature name and place of the bit, with a comma between; "" without
 * @param {string} outcomes when it is set, not set, without a table
 * @param {string[]} code
 * @param {Partial<GuestCpuidRow>} [more]
 * @returns {GuestCpuidRow}
 */
function row(what, feature, outcomes, code, more = {}) {
  const [set = "", clear = "", none = ""] = outcomes.split(" ");
  const [name = "", bit = ""] = feature.split(", ");
  return { what, ...(bit === "" ? {} : { feature: [name, bit] }), set, clear, none, code, ...more };
}

/** @type {{ title: string, rows: GuestCpuidRow[] }[]} */
export const GUEST_CPUID = [
  {
    title: "Instructions",
    rows: [
      row("RDTSCP", "RDTSCP, 80000001:0 EDX 27", "done #UD #UD", ["0f01f9"], {
        read: "svm.c, svm_recalc_instruction_intercepts: intercepted when hidden, and #UD (the emulated processor of tests/oracle executes it)",
      }),
      row("INVPCID", "INVPCID, 7:0 EBX 10", "done #UD #UD", [movEax(2), "660f38820500400000"], {
        read: "svm.c, svm_recalc_instruction_intercepts and invpcid_interception (the emulated processor of tests/oracle has none)",
      }),
      row("RDPID", "RDPID, 7:0 ECX 22", "done #UD #UD", ["f30fc7f8"], {
        note: "KVM emulates it for a processor that has none, which this one counts as",
      }),
      row("MOVBE", "MOVBE, 1:0 ECX 22", "done #UD #UD", ["0f38f00500400000"], {
        note: "KVM emulates it for a processor that has none, which this one counts as",
      }),
      row("MONITOR", "MONITOR, 1:0 ECX 3", "done done done", [
        movEax(0x4000),
        "31c931d2",
        "0f01c8",
      ]),
      row("MWAIT", "MONITOR, 1:0 ECX 3", "done done done", ["31c031c9", "0f01c9"]),
      row("XSETBV: XCR0 bit 1, SSE", "SSE state, d:0 EAX 1", "done #GP #GP", xsetbv(3), {
        besides: [XSAVE],
        read: "x86.c, __kvm_set_xcr (the emulated processor of tests/oracle does not intercept XSETBV; KVM_SET_XCRS was asked)",
      }),
      row("RDRAND", "RDRAND, 1:0 ECX 30", "done done done", ["0fc7f0", "31c0"]),
      row("POPCNT", "POPCNT, 1:0 ECX 23", "done done done", ["f30fb8c0"]),
    ],
  },
  {
    title: "CR4",
    rows: [
      row("VME (0)", "VME, 1:0 EDX 1", "done done done", cr4(0)),
      row("PVI (1)", "VME, 1:0 EDX 1", "done done done", cr4(1)),
      row("TSD (2)", "TSC, 1:0 EDX 4", "done done done", cr4(2)),
      row("DE (3)", "DE, 1:0 EDX 2", "done done done", cr4(3)),
      row("PSE (4)", "PSE, 1:0 EDX 3", "done done done", cr4(4)),
      row("PAE (5)", "PAE, 1:0 EDX 6", "done done done", cr4(5)),
      row("MCE (6)", "MCE, 1:0 EDX 7", "done done done", cr4(6)),
      row("PGE (7)", "PGE, 1:0 EDX 13", "done done done", cr4(7)),
      row("PCE (8)", "", "done done done", cr4(8)),
      row("OSFXSR (9)", "FXSR, 1:0 EDX 24", "done done done", cr4(9)),
      row("OSXMMEXCPT (10)", "SSE, 1:0 EDX 25", "done done done", cr4(10)),
      row("UMIP (11)", "UMIP, 7:0 ECX 2", "done #GP done", cr4(11)),
      row("LA57 (12)", "LA57, 7:0 ECX 16", "#GP #GP #GP", cr4(12)),
      row("VMXE (13)", "VMX, 1:0 ECX 5", "#GP #GP #GP", cr4(13)),
      row("SMXE (14)", "SMX, 1:0 ECX 6", "#GP #GP #GP", cr4(14)),
      row("FSGSBASE (16)", "FSGSBASE, 7:0 EBX 0", "done #GP done", cr4(16)),
      row("PCIDE (17)", "PCID, 1:0 ECX 17", "#GP #GP #GP", cr4(17)),
      row("OSXSAVE (18)", "XSAVE, 1:0 ECX 26", "done #GP done", cr4(18)),
      row("SMEP (20)", "SMEP, 7:0 EBX 7", "done #GP done", cr4(20)),
      row("SMAP (21)", "SMAP, 7:0 EBX 20", "done #GP done", cr4(21)),
      row("PKE (22)", "PKU, 7:0 ECX 3", "#GP #GP #GP", cr4(22)),
      row("CET (23)", "SHSTK, 7:0 ECX 7", "#GP #GP #GP", cr4(23)),
      row("LAM_SUP (28)", "LAM, 7:1 EAX 26", "#GP #GP #GP", cr4(28)),
    ],
  },
  {
    title: "EFER, by WRMSR",
    rows: [
      row("SCE (0)", "SYSCALL, 80000001:0 EDX 11", "done done done", wrmsr(EFER, 1)),
      row("LME (8)", "LM, 80000001:0 EDX 29", "done #GP #GP", wrmsr(EFER, 0x100), {
        read: "x86.c, __kvm_valid_efer (asked by KVM_SET_SREGS; the emulated processor of tests/oracle hangs with LME and paging off)",
      }),
      row("LMA (10), which stays 0", "LM, 80000001:0 EDX 29", "done #GP #GP", wrmsr(EFER, 0x400), {
        read: "x86.c, __kvm_valid_efer (asked by KVM_SET_SREGS; the emulated processor of tests/oracle hangs with LME and paging off)",
      }),
      row("NXE (11)", "NX, 80000001:0 EDX 20", "done #GP #GP", wrmsr(EFER, 0x800)),
      row("SVME (12)", "SVM, 80000001:0 ECX 2", "done #GP #GP", wrmsr(EFER, 0x1000)),
      row("LMSLE (13)", "", "FAIL_ENTRY FAIL_ENTRY FAIL_ENTRY", wrmsr(EFER, 0x2000), {
        note: "KVM takes it; the processor refuses to be entered with it",
      }),
      row("FFXSR (14)", "FXSR_OPT, 80000001:0 EDX 25", "#GP #GP #GP", wrmsr(EFER, 0x4000)),
      row("AUTOIBRS (21)", "AUTOIBRS, 80000021:0 EAX 8", "done #GP #GP", wrmsr(EFER, 0x200000), {
        read: "x86.c, __kvm_valid_efer (the emulated processor of tests/oracle has none)",
      }),
      row("a reserved bit (1)", "", "#GP #GP #GP", wrmsr(EFER, 2)),
    ],
  },
  {
    title: "Other MSRs",
    rows: [
      row("RDMSR TSC_AUX", "RDTSCP, 80000001:0 EDX 27", "done #GP #GP", rdmsr(TSC_AUX)),
      row("RDMSR TSC_AUX", "RDPID, 7:0 ECX 22", "done #GP #GP", rdmsr(TSC_AUX)),
      row("WRMSR TSC_AUX", "RDTSCP, 80000001:0 EDX 27", "done #GP #GP", wrmsr(TSC_AUX, 5)),
      row("WRMSR TSC_AUX", "RDPID, 7:0 ECX 22", "done #GP #GP", wrmsr(TSC_AUX, 5)),
      row(
        "WRMSR TSC_AUX with bits above 31, as read back",
        "RDTSCP, 80000001:0 EDX 27",
        "5 #GP #GP",
        [...wrmsr(TSC_AUX, 5, 1), ...rdmsr(TSC_AUX)],
        { value: true, note: "AMD and Hygon; #GP for other vendors" },
      ),
      row(
        "WRMSR TSC_ADJUST, as read back",
        "TSC_ADJUST, 7:0 EBX 1",
        "5 0 0",
        [...wrmsr(0x3b, 5), ...rdmsr(0x3b)],
        { value: true },
      ),
      row("RDMSR TSC_DEADLINE", "TSC_DEADLINE, 1:0 ECX 24", "done done done", rdmsr(0x6e0)),
      row("WRMSR TSC_DEADLINE", "TSC_DEADLINE, 1:0 ECX 24", "done done done", wrmsr(0x6e0, 1), {
        note: "ignored unless LVTT is in that mode",
      }),
      row(
        "WRMSR APIC_BASE: x2APIC mode",
        "X2APIC, 1:0 ECX 21",
        "done #GP #GP",
        wrmsr(0x1b, 0xfee00d00),
      ),
      row(
        "WRMSR MISC_ENABLE: MONITOR (18)",
        "SSE3, 1:0 ECX 0",
        "done done done",
        wrmsr(0x1a0, 0x41800),
        { note: "without KVM_X86_QUIRK_MISC_ENABLE_NO_MWAIT: #GP" },
      ),
      row("RDMSR SPEC_CTRL", "SPEC_CTRL, 7:0 EDX 26", "done #GP #GP", rdmsr(SPEC_CTRL)),
      row("RDMSR SPEC_CTRL", "IBRS, 80000008:0 EBX 14", "done #GP #GP", rdmsr(SPEC_CTRL)),
      row("RDMSR SPEC_CTRL", "STIBP, 80000008:0 EBX 15", "done #GP #GP", rdmsr(SPEC_CTRL)),
      row("RDMSR SPEC_CTRL", "SSBD, 80000008:0 EBX 24", "done #GP #GP", rdmsr(SPEC_CTRL)),
      row("WRMSR SPEC_CTRL, 0", "SPEC_CTRL, 7:0 EDX 26", "done #GP #GP", wrmsr(SPEC_CTRL, 0)),
      row("WRMSR SPEC_CTRL, 0", "IBRS, 80000008:0 EBX 14", "done #GP #GP", wrmsr(SPEC_CTRL, 0)),
      row("WRMSR SPEC_CTRL, 0", "STIBP, 80000008:0 EBX 15", "done #GP #GP", wrmsr(SPEC_CTRL, 0)),
      row("WRMSR SPEC_CTRL, 0", "SSBD, 80000008:0 EBX 24", "done #GP #GP", wrmsr(SPEC_CTRL, 0)),
      row(
        "RDMSR VIRT_SPEC_CTRL",
        "VIRT_SSBD, 80000008:0 EBX 25",
        "done #GP #GP",
        rdmsr(0xc001011f),
      ),
      row(
        "WRMSR VIRT_SPEC_CTRL: SSBD, as read back",
        "VIRT_SSBD, 80000008:0 EBX 25",
        "4 #GP #GP",
        [...wrmsr(0xc001011f, 4), ...rdmsr(0xc001011f)],
        { value: true },
      ),
      row("WRMSR PRED_CMD, 0", "IBPB, 80000008:0 EBX 12", "done #GP #GP", wrmsr(0x49, 0)),
      row("WRMSR PRED_CMD, 0", "SPEC_CTRL, 7:0 EDX 26", "done #GP #GP", wrmsr(0x49, 0)),
      row("WRMSR PRED_CMD, 0", "SBPB, 80000021:0 EAX 27", "done #GP #GP", wrmsr(0x49, 0)),
      row("RDMSR PRED_CMD", "IBPB, 80000008:0 EBX 12", "#GP #GP #GP", rdmsr(0x49)),
      row("WRMSR FLUSH_CMD, 0", "FLUSH_L1D, 7:0 EDX 28", "#GP #GP #GP", wrmsr(0x10b, 0)),
      row("RDMSR XSS", "XSAVES, d:1 EAX 3", "done #GP #GP", rdmsr(0xda0)),
      row("WRMSR XSS, 0", "XSAVES, d:1 EAX 3", "done #GP #GP", wrmsr(0xda0, 0)),
      row("RDMSR XFD", "XFD, d:1 EAX 4", "done #GP #GP", rdmsr(0x1c4)),
      row("WRMSR XFD, 0", "XFD, d:1 EAX 4", "done #GP #GP", wrmsr(0x1c4, 0)),
      row("RDMSR XFD_ERR", "XFD, d:1 EAX 4", "done #GP #GP", rdmsr(0x1c5)),
      row("RDMSR ARCH_CAPABILITIES", "ARCH_CAPABILITIES, 7:0 EDX 29", "done #GP #GP", rdmsr(0x10a)),
      row("RDMSR PERF_CAPABILITIES", "PDCM, 1:0 ECX 15", "done #GP #GP", rdmsr(0x345)),
      row("RDMSR OSVW_ID_LENGTH", "OSVW, 80000001:0 ECX 9", "3 #GP #GP", rdmsr(0xc0010140), {
        value: true,
      }),
      row(
        "WRMSR OSVW_STATUS, as read back",
        "OSVW, 80000001:0 ECX 9",
        "5 #GP #GP",
        [...wrmsr(0xc0010141, 5), ...rdmsr(0xc0010141)],
        { value: true },
      ),
      row(
        "RDMSR AMD64_TSC_RATIO",
        "TSCRATEMSR, 8000000a:0 EDX 4",
        "#GP #GP #GP",
        rdmsr(0xc0000104),
      ),
      row("RDMSR PAT", "PAT, 1:0 EDX 16", "done done done", rdmsr(0x277)),
      row("RDMSR MTRRcap", "MTRR, 1:0 EDX 12", "done done done", rdmsr(0xfe)),
      row("RDMSR MCG_CAP", "MCA, 1:0 EDX 14", "done done done", rdmsr(0x179)),
      row("WRMSR STAR", "SYSCALL, 80000001:0 EDX 11", "done done done", wrmsr(0xc0000081, 5)),
      row("WRMSR SYSENTER_CS", "SEP, 1:0 EDX 11", "done done done", wrmsr(0x174, 8)),
    ],
  },
];

/** Other parts of the vCPU that follow CPUID, and the scenarios of tests/vectors/topics with Linux's answers. */
export const ELSEWHERE = [
  [
    "LVTT, timer mode periodic",
    "leaf 1 of any table: one-shot before. A later table without leaf 1 changes nothing",
    "lapic_timer_modes_*",
  ],
  [
    "LVTT, timer mode TSC deadline",
    "TSC_DEADLINE (leaf 1 ECX bit 24): without, that bit is as if it were 0; KVM_GET_LAPIC shows it as it was set",
    "lapic_timer_modes_*",
  ],
  [
    "LVR and SVR, directed EOI, with a split irqchip",
    "X2APIC (leaf 1 ECX bit 21)",
    "lapic_directed_eoi",
  ],
];

/** The states of a row, in the order of its scenario. */
export const STATES = /** @type {const} */ (["set", "clear", "none"]);

/** CPUID steps: AMD's vendor and leaves, and the bits given. @param {string[]} bits */
function table(bits) {
  /** @type {Map<string, number[]>} */
  const leaves = new Map([
    ["0:0", [0xd, 0x68747541, 0x444d4163, 0x69746e65]],
    ["1:0", [0x00800f12, 0, 0, 0]],
    ["80000000:0", [0x80000021, 0, 0, 0]],
    ["80000008:0", [0x3030, 0, 0, 0]],
  ]);
  for (const text of bits) {
    const [leaf = "", register = "", bit = ""] = text.split(" ");
    const words = leaves.get(leaf) ?? [0, 0, 0, 0];
    const at = ["EAX", "EBX", "ECX", "EDX"].indexOf(register);
    words[at] = ((words[at] ?? 0) | (1 << Number(bit))) >>> 0;
    leaves.set(leaf, words);
  }
  return [...leaves]
    .map(([leaf, words]) => `${leaf}:${words.map((w) => w.toString(16)).join(":")}`)
    .join(" ");
}

/** A 32-bit interrupt gate to 0x2000 + 16 * vector. @param {number} vector */
const gate = (vector) => `poke ${0x3000 + vector * 8} ${hex(0x2000 + vector * 16, 2)}0800008e0000`;
/** Ports that the code writes to: of a handler, its vector. */
const DONE = 0x99;
const handler = (/** @type {number} */ vector) =>
  `poke ${0x2000 + vector * 16} e6${hex(vector, 1)}f4`;
const UD = 6;
const GP = 13;

/** A scenario with the row's states one after the other. @param {GuestCpuidRow} row */
export function guestCpuidScenario({ feature, code, besides = [] }) {
  const steps = ["vm", "irqchip", "slot 0 0 0x200000", "vcpu 0", "vcpu 1", "vcpu 2"];
  steps.push(...[UD, GP].flatMap((vector) => [gate(vector), handler(vector)]));
  steps.push(`poke 0x1000 ${code.join("")}e6${hex(DONE, 1)}f4`);
  for (const [n, state] of STATES.entries()) {
    const bits = [...besides, ...(state === "set" && feature ? [feature[1]] : [])];
    if (n > 0) steps.push(`v${n} mpstate 0`);
    if (state !== "none") steps.push(`v${n} cpuid ${table(bits)}`);
    steps.push(
      `v${n} mode32`,
      `v${n} idt 0x3000 0xff`,
      `v${n} regs rip=0x1000 rsp=0x8000`,
      `v${n} run`,
    );
  }
  return `${steps.join("\n")}\n`;
}

/** The outcomes in the answers to a row's scenario. @param {GuestCpuidRow} row @param {string[]} lines */
export function guestCpuidOutcomes({ value }, lines) {
  return lines
    .filter((line) => /^v\d run = /.test(line))
    .map((line) => {
      const [, port, data] = / IO out port=(\S+) size=1 count=1 data=(\S+)$/.exec(line) ?? [];
      if (port === undefined) return line.replace(/^v\d run = 0 /, "");
      if (Number(port) === UD) return "#UD";
      if (Number(port) === GP) return "#GP";
      return value ? String(Number.parseInt(data ?? "", 16)) : "done";
    });
}

/** The name of a row among the recorded answers. @param {GuestCpuidRow} row */
export const guestCpuidName = ({ what, feature }) => (feature ? `${what}, by ${feature[0]}` : what);
