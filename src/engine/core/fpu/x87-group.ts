/** x87 opcodes whose ModRM.rm chooses the instruction. */
import { V_UD, raise } from "../fault";
import { Rec } from "../record";
import { fabs, fchs, fcompp, fprem, fprem1, frndint, fscale, fsqrt, ftst, fucompp, fxam, fxtract } from "./x87-arith";
import { fnclex, fninit, fnop_control, fnstsw_ax } from "./x87-control";
import { fincstp, fld_const, fnop } from "./x87-move";
import { f2xm1, fcos, fpatan, fptan, fsin, fsincos, fyl2x, fyl2xp1 } from "./x87-transcendental";

/** DE D8+i: FCOMPP. */
export function group_DE_3(p: u32): u32 {
  return Rec.rm3(p) == 1 ? fcompp(p) : raise(V_UD);
}

/** DA E8+i: FUCOMPP. */
export function group_DA_5(p: u32): u32 {
  return Rec.rm3(p) == 1 ? fucompp(p) : raise(V_UD);
}

/** D9 D0+i: FNOP. */
export function group_D9_2(p: u32): u32 {
  return Rec.rm3(p) == 0 ? fnop(p) : raise(V_UD);
}

/** D9 E0+i. */
export function group_D9_4(p: u32): u32 {
  switch (Rec.rm3(p)) {
    case 0: return fchs(p);
    case 1: return fabs(p);
    case 4: return ftst(p);
    case 5: return fxam(p);
    default: return raise(V_UD);
  }
}

/** D9 E8+i: the constants. */
export function group_D9_5(p: u32): u32 {
  return Rec.rm3(p) < 7 ? fld_const(p) : raise(V_UD);
}

/** D9 F0+i. */
export function group_D9_6(p: u32): u32 {
  switch (Rec.rm3(p)) {
    case 0: return f2xm1(p);
    case 1: return fyl2x(p);
    case 2: return fptan(p);
    case 3: return fpatan(p);
    case 4: return fxtract(p);
    case 5: return fprem1(p);
    default: return fincstp(p);
  }
}

/** D9 F8+i. */
export function group_D9_7(p: u32): u32 {
  switch (Rec.rm3(p)) {
    case 0: return fprem(p);
    case 1: return fyl2xp1(p);
    case 2: return fsqrt(p);
    case 3: return fsincos(p);
    case 4: return frndint(p);
    case 5: return fscale(p);
    case 6: return fsin(p);
    default: return fcos(p);
  }
}

/** DB E0+i: FENI and FDISI (8087) and FSETPM (287) do nothing. */
export function group_DB_4(p: u32): u32 {
  switch (Rec.rm3(p)) {
    case 0: case 1: case 4: return fnop_control(p);
    case 2: return fnclex(p);
    case 3: return fninit(p);
    default: return raise(V_UD);
  }
}

/** DF E0+i: FNSTSW AX. */
export function group_DF_4(p: u32): u32 {
  return Rec.rm3(p) == 0 ? fnstsw_ax(p) : raise(V_UD);
}
