// @ts-check
/** Multiplication and division. */
export default [
  "F6 /4 | mul Eb | ops/muldiv:mul_E<b>",
  "F7 /4 | mul Ev | ops/muldiv:mul_E<v>",
  "F6 /5 | imul Eb | ops/muldiv:imul_E<b>",
  "F7 /5 | imul Ev | ops/muldiv:imul_E<v>",
  "F6 /6 | div Eb | ops/muldiv:div_E<b>",
  "F7 /6 | div Ev | ops/muldiv:div_E<v>",
  "F6 /7 | idiv Eb | ops/muldiv:idiv_E<b>",
  "F7 /7 | idiv Ev | ops/muldiv:idiv_E<v>",
  "0F AF /r | imul Gv,Ev | ops/muldiv:imul_GE<v>",
  "69 /r iz | imul Gv,Ev,Iz | ops/muldiv:imul_GEI<v>",
  "6B /r ib | imul Gv,Ev,Ib | ops/muldiv:imul_GEI<v>",
];
