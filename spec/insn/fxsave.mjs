// @ts-check
/** Saving and restoring x87 and SSE state. Row format: README.md. */
export default [
  "NP 0F AE /0 mem | fxsave M | fpu/fxsave:fxsave",
  "NP 0F AE /1 mem | fxrstor M | fpu/fxsave:fxrstor",
  "NP 0F AE /4 mem | xsave M | fpu/fxsave:xsave",
  "NP 0F AE /5 mem | xrstor M | fpu/fxsave:xrstor",
  "NP 0F AE /6 mem | xsaveopt M | fpu/fxsave:xsaveopt",
];
