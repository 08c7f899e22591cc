// @ts-check
/** Which SSE instructions have a fast operation: by assembly text, [pattern, family, memory family, wide]. */

/** The next family with REX.W: of the memory form, of the register form. */
const WM = 0x4000;
const WR = 0x8000;

/**
 * Pattern of gen-fast.mjs, family, family of the memory form, and WM or WR.
 * @typedef {[pattern: "SSE" | "SSELOAD" | "SSESTORE" | "SSESHIFT", family: string, memory: string, wide?: number]} SseKind
 */
/** @typedef {(asm: string, ...kind: SseKind) => unknown} Put */

/** @type {Record<string, string[]>} */
const ALIASES = {
  pand: ["andps vps,wps", "andpd vpd,wpd"],
  pandn: ["andnps vps,wps", "andnpd vpd,wpd"],
  por: ["orps vps,wps", "orpd vpd,wpd"],
  pxor: ["xorps vps,wps", "xorpd vpd,wpd"],
  punpckldq: ["unpcklps vps,wps"],
  punpckhdq: ["unpckhps vps,wps"],
  punpcklqdq: ["unpcklpd vpd,wpd"],
  punpckhqdq: ["unpckhpd vpd,wpd"],
};
const INTEGERS =
  "pand pandn por pxor paddb paddw paddd paddq psubb psubw psubd psubq pcmpeqb pcmpeqw pcmpeqd pcmpgtb pcmpgtw pcmpgtd pminub pmaxub pminsw pmaxsw pmullw pmulld pmaddwd pmuludq packuswb packsswb packssdw punpcklbw punpckhbw punpcklwd punpckhwd punpckldq punpckhdq punpcklqdq punpckhqdq pshufb".split(
    " ",
  );
const SHIFTS = "psllw pslld psllq psrlw psrld psrlq psraw psrad pslldq psrldq".split(" ");

/** Map from assembly text, lower case, to the kind. */
export function sseKinds() {
  /** @type {Map<string, SseKind>} */
  const map = new Map();
  /** @type {Put} */
  const put = (asm, ...kind) => map.set(asm, kind);
  for (const x of INTEGERS) {
    put(`${x} vdq,wdq`, "SSE", x, "tmp16");
    for (const asm of ALIASES[x] ?? []) put(asm, "SSE", x, "tmp16");
  }
  for (const x of ["pshufd", "pshuflw", "pshufhw", "palignr"])
    put(`${x} vdq,wdq,ib`, "SSE", x, "tmp16");
  put("shufps vps,wps,ib", "SSE", "shufps", "tmp16");
  for (const x of ["add", "sub", "mul", "div"]) {
    put(`${x}sd vsd,wsd`, "SSE", `${x}sd`, "tmp8");
    put(`${x}ss vss,wss`, "SSE", `${x}ss`, "tmp4");
    put(`${x}pd vpd,wpd`, "SSE", `${x}pd`, "tmp16");
    put(`${x}ps vps,wps`, "SSE", `${x}ps`, "tmp16");
  }
  for (const x of ["sqrtsd", "minsd", "maxsd", "ucomisd"]) put(`${x} vsd,wsd`, "SSE", x, "tmp8");
  put("comisd vsd,wsd", "SSE", "ucomisd", "tmp8");
  for (const x of ["ucomiss", "comiss"]) put(`${x} vss,wss`, "SSE", "ucomiss", "tmp4");
  put("cvtss2sd vsd,wss", "SSE", "cvtss2sd", "tmp4");
  put("cvtsd2ss vss,wsd", "SSE", "cvtsd2ss", "tmp8");
  put("cvttsd2si gy,wsd", "SSE", "cvttsd2si4", "tmp8", WR);
  put("cvtsi2sd vsd,ey", "SSE", "cvtsi2sd4", "tmp4", WR | WM);
  put("pmovmskb gd,udq", "SSE", "pmovmskb", "tmp16");
  put("movhlps vq,uq", "SSE", "movhlps", "tmp8");
  put("movlhps vq,uq", "SSE", "movlhps", "tmp8");
  for (const x of SHIFTS) put(`${x} udq,ib`, "SSESHIFT", x, "tmp16");
  moves(put);
  return map;
}

/** @param {Put} put */
function moves(put) {
  for (const [x, t] of [
    ["movups", "ps"],
    ["movupd", "pd"],
    ["movdqu", "dq"],
  ]) {
    put(`${x} v${t},w${t}`, "SSELOAD", "mov16", "ld16");
    put(`${x} w${t},v${t}`, "SSESTORE", "mov16", "st16");
  }
  for (const [x, t] of [
    ["movaps", "ps"],
    ["movapd", "pd"],
    ["movdqa", "dq"],
  ]) {
    put(`${x} v${t},w${t}`, "SSELOAD", "mov16", "ld16a");
    put(`${x} w${t},v${t}`, "SSESTORE", "mov16", "st16a");
  }
  for (const t of ["ps", "pd", "dq"]) put(`movnt${t} m${t},v${t}`, "SSESTORE", "mov16", "st16a");
  put("lddqu vdq,mdq", "SSELOAD", "mov16", "ld16");
  put("movsd vsd,usd", "SSELOAD", "mergeq", "ld8");
  put("movsd vsd,mq", "SSELOAD", "mergeq", "ld8");
  put("movsd usd,vsd", "SSESTORE", "mergeq", "st8");
  put("movsd mq,vsd", "SSESTORE", "mergeq", "st8");
  put("movss vss,uss", "SSELOAD", "merged", "ld4");
  put("movss vss,md", "SSELOAD", "merged", "ld4");
  put("movss uss,vss", "SSESTORE", "merged", "st4");
  put("movss md,vss", "SSESTORE", "merged", "st4");
  for (const x of ["movlps", "movlpd"]) {
    put(`${x} vq,mq`, "SSELOAD", "mergeq", "ld8m");
    put(`${x} mq,vq`, "SSESTORE", "mergeq", "st8");
  }
  for (const x of ["movhps", "movhpd"]) {
    put(`${x} vq,mq`, "SSELOAD", "movlhps", "ld8h");
    put(`${x} mq,vq`, "SSESTORE", "movlhps", "st8h");
  }
  put("movq vq,wq", "SSELOAD", "movq", "ld8");
  put("movq uq,vq", "SSESTORE", "movq", "st8");
  put("movq mq,vq", "SSESTORE", "movq", "st8");
  put("movd vy,ey", "SSELOAD", "movd", "ld4", WR | WM);
  put("movd ey,vy", "SSESTORE", "tomovd", "st4", WR | WM);
}
