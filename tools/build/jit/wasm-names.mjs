// @ts-check
/** Numbers of WebAssembly's instructions by the names of its text format, as far as the fast operations need them. */

/** @type {Record<string, number>} */
export const WASM = {};
const put = (/** @type {number} */ from, /** @type {string} */ names) => {
  for (const [i, name] of names.split(" ").entries()) if (name !== "_") WASM[name] = from + i;
};
const each = (/** @type {string} */ type, /** @type {string} */ names) =>
  names
    .split(" ")
    .map((name) => `${type}.${name}`)
    .join(" ");
const COMPARE = "eqz eq ne lt_s lt_u gt_s gt_u le_s le_u ge_s ge_u";
const ARITHMETIC =
  "clz ctz popcnt add sub mul div_s div_u rem_s rem_u and or xor shl shr_s shr_u rotl rotr";
put(0x28, "i32.load i64.load f32.load f64.load");
put(0x2c, each("i32", "load8_s load8_u load16_s load16_u"));
put(0x30, each("i64", "load8_s load8_u load16_s load16_u load32_s load32_u"));
put(0x36, "i32.store i64.store f32.store f64.store i32.store8 i32.store16");
put(0x45, each("i32", COMPARE));
put(0x50, each("i64", COMPARE));
put(0x5b, each("f32", "eq ne lt gt le ge"));
put(0x61, each("f64", "eq ne lt gt le ge"));
put(0x67, each("i32", ARITHMETIC));
put(0x79, each("i64", ARITHMETIC));
put(0x91, each("f32", "sqrt add sub mul div"));
put(0x9a, "f64.neg");
put(0x9f, each("f64", "sqrt add sub mul div"));
put(0xa7, "i32.wrap_i64");
put(0xac, "i64.extend_i32_s i64.extend_i32_u");
put(0xb6, "f32.demote_f64 f64.convert_i32_s _ f64.convert_i64_s _ f64.promote_f32");
put(0xbc, "i32.reinterpret_f32 i64.reinterpret_f64 f32.reinterpret_i32 f64.reinterpret_i64");
put(0xc0, "i32.extend8_s i32.extend16_s i64.extend8_s i64.extend16_s i64.extend32_s");
put(0xfc02, "i32.trunc_sat_f64_s");
put(0xfc06, "i64.trunc_sat_f64_s");
put(0xfd00, "v128.load");
put(0xfd0b, "v128.store v128.const i8x16.shuffle i8x16.swizzle");
put(0xfd0f, "i8x16.splat i16x8.splat i32x4.splat i64x2.splat");
put(0xfd1e, "i64x2.replace_lane");
put(0xfd23, "i8x16.eq _ _ _ i8x16.gt_s");
put(0xfd2d, "i16x8.eq _ _ _ i16x8.gt_s");
put(0xfd37, "i32x4.eq _ _ _ i32x4.gt_s i32x4.gt_u");
put(0xfd4e, "v128.and v128.andnot v128.or v128.xor _ v128.any_true");
put(0xfd64, "i8x16.bitmask i8x16.narrow_i16x8_s i8x16.narrow_i16x8_u");
for (const [type, at] of /** @type {[string, number][]} */ ([
  ["i8x16", 0xfd6b],
  ["i16x8", 0xfd8b],
  ["i32x4", 0xfdab],
  ["i64x2", 0xfdcb],
]))
  put(at, each(type, "shl shr_s shr_u add add_sat_s add_sat_u sub"));
put(0xfd76, each("i8x16", "min_s min_u max_s max_u"));
put(0xfd85, "i16x8.narrow_i32x4_s");
put(0xfd95, each("i16x8", "mul min_s min_u max_s max_u"));
put(0xfdb5, "i32x4.mul");
put(0xfdba, "i32x4.dot_i16x8_s");
put(0xfdde, "i64x2.extmul_low_i32x4_u");
put(0xfde4, each("f32x4", "add sub mul div"));
put(0xfdf0, each("f64x2", "add sub mul div"));
