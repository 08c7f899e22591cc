// @ts-check
/** x87. Row format: README.md. Rows with several mnemonics are opcodes whose ModRM.rm chooses one. */
const OPERATIONS = ["fadd", "fmul", "fcom", "fcomp", "fsub", "fsubr", "fdiv", "fdivr"];
/** In the forms that write ST(i), SUB and SUBR, DIV and DIVR have changed places. */
const REVERSED = ["fadd", "fmul", "fcom", "fcomp", "fsubr", "fsub", "fdivr", "fdiv"];
const isCompare = (/** @type {number} */ n) => n === 2 || n === 3;

/**
 * Arithmetic and comparison with a memory operand: D8 m32, DA m32int, DC m64, DE m16int.
 * @param {string} opcode
 * @param {string} operand
 * @param {boolean} integer
 */
function withMemory(opcode, operand, integer) {
  return OPERATIONS.map((name, n) => {
    const handler = isCompare(n) ? "com_mem" : "arith_mem";
    return `${opcode} /${n} mem | ${integer ? name.replace("f", "fi") : name} ${operand} | fpu/x87-arith:${handler}`;
  });
}

const CONDITIONS = ["b", "e", "be", "u"];

export default [
  ...withMemory("D8", "m32fp", false),
  ...withMemory("DA", "m32int", true),
  ...withMemory("DC", "m64fp", false),
  ...withMemory("DE", "m16int", true),
  ...OPERATIONS.map(
    (name, n) =>
      `D8 /${n} reg | ${name} ST(0),ST(i) | fpu/x87-arith:${isCompare(n) ? name : "arith_0i"}`,
  ),
  ...REVERSED.map(
    (name, n) =>
      `DC /${n} reg | ${name} ST(i),ST(0) | fpu/x87-arith:${isCompare(n) ? name : "arith_i0"}`,
  ),
  ...REVERSED.filter((_, n) => !isCompare(n)).map(
    (name) => `DE /${REVERSED.indexOf(name)} reg | ${name}p ST(i),ST(0) | fpu/x87-arith:arith_i0p`,
  ),
  "DE /2 reg | fcomp ST(i) | fpu/x87-arith:fcomp",
  "DE /3 reg | fcompp | fpu/x87-group:group_DE_3",
  "DA /5 reg | fucompp | fpu/x87-group:group_DA_5",
  "DD /4 reg | fucom ST(i) | fpu/x87-arith:fucom",
  "DD /5 reg | fucomp ST(i) | fpu/x87-arith:fucomp",
  "DB /5 reg | fucomi ST(0),ST(i) | fpu/x87-arith:fucomi",
  "DB /6 reg | fcomi ST(0),ST(i) | fpu/x87-arith:fcomi",
  "DF /5 reg | fucomip ST(0),ST(i) | fpu/x87-arith:fucomip",
  "DF /6 reg | fcomip ST(0),ST(i) | fpu/x87-arith:fcomip",
  // loads and stores
  "D9 /0 mem | fld m32fp | fpu/x87-move:fld_mem",
  "DD /0 mem | fld m64fp | fpu/x87-move:fld_mem",
  "DB /5 mem | fld m80fp | fpu/x87-move:fld_m80",
  "D9 /0 reg | fld ST(i) | fpu/x87-move:fld_st",
  "DF /0 mem | fild m16int | fpu/x87-move:fld_mem",
  "DB /0 mem | fild m32int | fpu/x87-move:fld_mem",
  "DF /5 mem | fild m64int | fpu/x87-move:fild_m64",
  "DF /4 mem | fbld m80bcd | fpu/x87-move:fbld",
  "D9 /2 mem | fst m32fp | fpu/x87-move:fst_mem",
  "D9 /3 mem | fstp m32fp | fpu/x87-move:fst_mem",
  "DD /2 mem | fst m64fp | fpu/x87-move:fst_mem",
  "DD /3 mem | fstp m64fp | fpu/x87-move:fst_mem",
  "DB /7 mem | fstp m80fp | fpu/x87-move:fstp_m80",
  "DF /2 mem | fist m16int | fpu/x87-move:fist_mem",
  "DF /3 mem | fistp m16int | fpu/x87-move:fist_mem",
  "DB /2 mem | fist m32int | fpu/x87-move:fist_mem",
  "DB /3 mem | fistp m32int | fpu/x87-move:fist_mem",
  "DF /7 mem | fistp m64int | fpu/x87-move:fistp_m64",
  "DF /1 mem | fisttp m16int | fpu/x87-move:fisttp_mem",
  "DB /1 mem | fisttp m32int | fpu/x87-move:fisttp_mem",
  "DD /1 mem | fisttp m64int | fpu/x87-move:fisttp_mem",
  "DF /6 mem | fbstp m80bcd | fpu/x87-move:fbstp",
  "DD /2 reg | fst ST(i) | fpu/x87-move:fst_st",
  "DD /3 reg | fstp ST(i) | fpu/x87-move:fstp_st",
  // aliases that processors have and manuals leave out
  "D9 /3 reg | fstp ST(i) | fpu/x87-move:fstpnce",
  "DF /2 reg | fstp ST(i) | fpu/x87-move:fstp_st",
  "DF /3 reg | fstp ST(i) | fpu/x87-move:fstp_st",
  "DD /1 reg | fxch ST(i) | fpu/x87-move:fxch",
  "DF /1 reg | fxch ST(i) | fpu/x87-move:fxch",
  "DF /0 reg | ffreep ST(i) | fpu/x87-move:ffreep",
  "D9 /1 reg | fxch ST(i) | fpu/x87-move:fxch",
  "DD /0 reg | ffree ST(i) | fpu/x87-move:ffree",
  ...CONDITIONS.map((c, n) => `DA /${n} reg | fcmov${c} ST(0),ST(i) | fpu/x87-move:fcmov`),
  ...CONDITIONS.map((c, n) => `DB /${n} reg | fcmovn${c} ST(0),ST(i) | fpu/x87-move:fcmov`),
  // opcodes that ModRM.rm divides further
  "D9 /2 reg | fnop | fpu/x87-group:group_D9_2",
  "D9 /4 reg | fxam ftst fabs fchs | fpu/x87-group:group_D9_4",
  "D9 /5 reg | fld1 fldl2t fldl2e fldpi fldlg2 fldln2 fldz | fpu/x87-group:group_D9_5",
  "D9 /6 reg | f2xm1 fyl2x fptan fpatan fxtract fprem1 fdecstp fincstp | fpu/x87-group:group_D9_6",
  "D9 /7 reg | fprem fyl2xp1 fsqrt fsincos frndint fscale fsin fcos | fpu/x87-group:group_D9_7",
  "DB /4 reg | fnclex fninit fneni fndisi fnsetpm | fpu/x87-group:group_DB_4",
  "DF /4 reg | fnstsw AX | fpu/x87-group:group_DF_4",
  // control
  "9B | fwait | fpu/x87-control:fwait",
  "D9 /4 mem | fldenv M | fpu/x87-control:fldenv",
  "D9 /5 mem | fldcw m16 | fpu/x87-control:fldcw",
  "D9 /6 mem | fnstenv M | fpu/x87-control:fnstenv",
  "D9 /7 mem | fnstcw m16 | fpu/x87-control:fnstcw",
  "DD /4 mem | frstor M | fpu/x87-control:frstor",
  "DD /6 mem | fnsave M | fpu/x87-control:fnsave",
  "DD /7 mem | fnstsw m16 | fpu/x87-control:fnstsw_mem",
];
