// @ts-check
/**
 * Pairs of fast operations that are executed together: the first of two records gets an operation that
 * does both, so that one jump of the switch is saved. The second record stays as it is, for when its
 * part misses the TLB. Chosen by counting pairs in kernel boots, system calls, page faults, sorting and
 * hashing; the order is that of the numbers only.
 */

/** First operation, and those that may follow it. */
const FOLLOWERS = {
  pop8_rr_F: "pop8_rr_F ret jmp_far",
  push8_rr_F: "push8_rr_F mov8_rr_F mov8_rmb_F mov4_rr_F movsx48_rr_F",
  mov8_rr_F:
    "mov8_rr_F push8_rr_F call_far call_near mov8_rmb_F mov4_rr_F mov4_ri_F ret pop8_rr_F and8_ri_N sub8_rr_N shr8_ri_N testj8_rr_4 testj8_rr_5 add8_ri_F call_r mov8_mrb_F",
  mov8_rmb_F:
    "mov8_rmb_F mov8_rr_F mov8_mrb_F mov4_rmb_F call_far testj1_ri_4 testj1_ri_5 testj8_rr_4 testj8_rr_5 lea8_rmb_F mov4_rr_F cmpj8_rr_4 cmpj8_rr_5 sub8_rmb_F shr8_ri_N test8_rr_F cmp8_rr_F",
  mov8_mrb_F: "mov8_mrb_F mov8_rmb_F mov8_rr_F",
  mov4_rr_F:
    "mov4_rr_F mov8_rr_F push8_rr_F call_far add4_rr_N rol4_ri_N ror4_ri_N xor4_rr_N and4_rr_N not4_rr_N cmpj8_ri_5 shr4_ri_N",
  mov4_rmb_F: "mov4_rmb_F testj4_rr_4 testj4_rr_5 add4_ri_F mov4_ri_F mov8_rr_F and4_ri_F",
  mov4_mrb_F: "ret mov4_mrb_F add8_ri_N",
  mov4_ri_F: "ret call_far mov8_rr_F jmp_near mov4_ri_F cmpj4_rr_2",
  xor4_rr_F: "ret mov4_rr_F jmp_near mov8_rr_F",
  xor4_rr_N: "mov4_rr_F add4_rr_N and4_rr_N xor4_rr_N",
  add4_rr_N: "mov4_rr_F lea4_rmx_F",
  and4_rr_N: "xor4_rr_N add4_rr_N",
  ror4_ri_N: "ror4_ri_N xor4_rr_N and4_rr_N",
  rol4_ri_N: "xor4_rr_N",
  movsx48_rr_F: "add8_rr_N mov8_rmx_F",
  add4_ri_N: "movsx48_rr_F add4_ri_N",
  add8_rr_N: "cmpj4_rr_5 cmpj8_rr_5 cmpj8_rr_3",
  movzx14_rmb_F: "testj1_rr_9 testj1_rr_4 testj1_rr_5 add8_ri_N add8_ri_F jmp_near",
  movzx14_rr_F: "testj1_mib_5",
  add8_ri_N: "testj1_rr_4 cmpj8_rr_4 cmpj8_rr_5 testj8_rr_4",
  add8_ri_F: "pop8_rr_F ret cmpj1_mib_5 movzx14_rmb_F jmp_near",
  lea8_rmb_F: "mov8_rr_F call_far",
  lea8_rmx_F: "lea8_rmx_F movsx48_rmb_F",
  shl8_ri_N: "add8_rr_F add8_rr_N",
  set1_rr_F: "ret",
  sub8_ri_F: "mov8_rmb_F mov8_rr_F",
};

/** All pairs: [first, second]. */
export const PAIRS = Object.entries(FOLLOWERS).flatMap(([first, list]) =>
  list.split(" ").map((second) => /** @type {const} */ ([first, second])),
);

/** @typedef {import("./gen-fast-ops.mjs").Operation} Operation */

/** The operations of all pairs, from those they consist of. @param {Operation[]} ops @returns {Operation[]} */
export function pairOps(ops) {
  const byName = new Map(ops.map((op) => [op.name, op]));
  const part = (/** @type {string} */ name) => {
    const op = byName.get(name);
    if (op === undefined) throw new Error(`gen-fast-pairs: no operation ${name}`);
    return op;
  };
  return PAIRS.map(([first, second]) => {
    const [a, b] = [part(first), part(second)];
    const both = (/** @type {string} */ one, /** @type {string} */ other) =>
      `{ ${one.replace("@NEXT", "")} } p += 32; ${other}`;
    return {
      name: `${first}+${second}`,
      body: both(a.body, b.body),
      flat: both(a.flat ?? a.body, b.flat ?? b.body),
    };
  });
}
