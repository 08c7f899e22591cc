/** Integer SIMD on MMX registers: MMX, and what SSE, SSE2 and SSSE3 added to it. Row format: README.md. */

/** P = P op Q by a handler of the same name. */
const REGULAR = {
  60: "punpcklbw", 61: "punpcklwd", 62: "punpckldq", 63: "packsswb", 64: "pcmpgtb", 65: "pcmpgtw", 66: "pcmpgtd", 67: "packuswb",
  68: "punpckhbw", 69: "punpckhwd", "6A": "punpckhdq", "6B": "packssdw", 74: "pcmpeqb", 75: "pcmpeqw", 76: "pcmpeqd",
  D4: "paddq", D5: "pmullw", D8: "psubusb", D9: "psubusw", DA: "pminub", DB: "pand", DC: "paddusb", DD: "paddusw", DE: "pmaxub", DF: "pandn",
  E0: "pavgb", E3: "pavgw", E4: "pmulhuw", E5: "pmulhw", E8: "psubsb", E9: "psubsw", EA: "pminsw", EB: "por", EC: "paddsb", ED: "paddsw",
  EE: "pmaxsw", EF: "pxor", F5: "pmaddwd", F8: "psubb", F9: "psubw", FA: "psubd", FB: "psubq", FC: "paddb", FD: "paddw", FE: "paddd",
};
const SSSE3 = {
  "00": "pshufb", "01": "phaddw", "02": "phaddd", "03": "phaddsw", "04": "pmaddubsw", "05": "phsubw", "06": "phsubd", "07": "phsubsw",
  "08": "psignb", "09": "psignw", "0A": "psignd", "0B": "pmulhrsw", "1C": "pabsb", "1D": "pabsw", "1E": "pabsd",
};
const SHIFTS = { D1: "psrlw", D2: "psrld", D3: "psrlq", E1: "psraw", E2: "psrad", F1: "psllw", F2: "pslld", F3: "psllq" };
const IMMEDIATE = { "71 /2": "psrlw", "72 /2": "psrld", "73 /2": "psrlq", "71 /4": "psraw", "72 /4": "psrad", "71 /6": "psllw", "72 /6": "pslld", "73 /6": "psllq" };
/** PUNPCKL reads only 32 bits of memory. */
const source = (name) => (name.startsWith("punpckl") ? "Qd" : "Qq");

export default [
  ...Object.entries(REGULAR).map(([code, name]) => `NP 0F ${code} /r | ${name} Pq,${source(name)} | fpu/mmx-ops:${name}`),
  ...Object.entries(SSSE3).map(([code, name]) => `NP 0F38 ${code} /r | ${name} Pq,Qq | fpu/mmx-ops:${name}`),
  ...Object.entries(SHIFTS).map(([code, name]) => `NP 0F ${code} /r | ${name} Pq,Qq | fpu/mmx-more:shift_PQ`),
  ...Object.entries(IMMEDIATE).map(([code, name]) => `NP 0F ${code} reg ib | ${name} Nq,Ib | fpu/mmx-more:shift_NI`),
  "NP 0F 6E /r | movd Pd,Ey | fpu/mmx-more:movd_PE<y>",
  "NP 0F 7E /r | movd Ey,Pd | fpu/mmx-more:movd_EP<y>",
  "NP 0F 6F /r | movq Pq,Qq | fpu/mmx-more:movq_PQ",
  "NP 0F 7F /r | movq Qq,Pq | fpu/mmx-more:movq_QP",
  "NP 0F E7 /r mem | movntq Mq,Pq | fpu/mmx-more:movntq",
  "NP 0F F4 /r | pmuludq Pq,Qq | fpu/mmx-more:pmuludq",
  "NP 0F F6 /r | psadbw Pq,Qq | fpu/mmx-more:psadbw",
  "NP 0F 70 /r ib | pshufw Pq,Qq,Ib | fpu/mmx-more:pshufw",
  "NP 0F3A 0F /r ib | palignr Pq,Qq,Ib | fpu/mmx-more:palignr",
  "NP 0F C4 /r reg ib | pinsrw Pq,Rd,Ib | fpu/mmx-more:pinsrw",
  "NP 0F C4 /r mem ib | pinsrw Pq,Mw,Ib | fpu/mmx-more:pinsrw",
  "NP 0F C5 /r reg ib | pextrw Gd,Nq,Ib | fpu/mmx-more:pextrw",
  "NP 0F D7 /r reg | pmovmskb Gd,Nq | fpu/mmx-more:pmovmskb",
  "NP 0F F7 /r reg | maskmovq Pq,Nq | fpu/mmx-more:maskmovq",
  "NP 0F 77 | emms | fpu/mmx-more:emms",
];
