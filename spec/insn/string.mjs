// @ts-check
/** String instructions; those on ports are in io.mjs. */
export default [
  "A4 | movs Yb,Xb | ops/string:movs<b>",
  "A5 | movs Yv,Xv | ops/string:movs<v>",
  "A6 | cmps Xb,Yb | ops/string-compare:cmps<b>",
  "A7 | cmps Xv,Yv | ops/string-compare:cmps<v>",
  "AA | stos Yb,AL | ops/string:stos<b>",
  "AB | stos Yv,rAX | ops/string:stos<v>",
  "AC | lods AL,Xb | ops/string:lods<b>",
  "AD | lods rAX,Xv | ops/string:lods<v>",
  "AE | scas AL,Yb | ops/string-compare:scas<b>",
  "AF | scas rAX,Yv | ops/string-compare:scas<v>",
];
