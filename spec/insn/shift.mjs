// @ts-check
/** Shifts and rotations. */
const GROUP = ["rol", "ror", "rcl", "rcr", "shl", "shr", "shl", "sar"];

/**
 * One member of the shift group: by the immediate, by one, by CL.
 * @param {string} op
 * @param {number} n
 */
function group(op, n) {
  const file = n < 4 ? "ops/rotate" : "ops/shift";
  return [
    `C0 /${n} ib | ${op} Eb,Ib | ${file}:${op}_I<b>`,
    `C1 /${n} ib | ${op} Ev,Ib | ${file}:${op}_I<v>`,
    `D0 /${n} | ${op} Eb,1 | ${file}:${op}_1<b>`,
    `D1 /${n} | ${op} Ev,1 | ${file}:${op}_1<v>`,
    `D2 /${n} | ${op} Eb,CL | ${file}:${op}_C<b>`,
    `D3 /${n} | ${op} Ev,CL | ${file}:${op}_C<v>`,
  ];
}

export default [
  ...GROUP.flatMap(group),
  "0F A4 /r ib | shld Ev,Gv,Ib | ops/shift:shld_I<v>",
  "0F A5 /r | shld Ev,Gv,CL | ops/shift:shld_C<v>",
  "0F AC /r ib | shrd Ev,Gv,Ib | ops/shift:shrd_I<v>",
  "0F AD /r | shrd Ev,Gv,CL | ops/shift:shrd_C<v>",
];
