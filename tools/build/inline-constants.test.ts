import { parseAst } from "vite";
import { describe, expect, it } from "vitest";
import { constantsOf, inlined } from "./inline-constants.mjs";

const file = `
/** Ports. */
export const Port = {
  /** Of bytes. */
  DATA: 0x3f8,
  BIG: 1_000n, // commas, too
  LOW: -2,
} as const;
export const Names = { ONE: "one" } as const;
export const Sum = { TWO: 1 + 1 } as const;
export const Mixed = { ONE: 1, TWO: "two" } as const;
const Own = { A: 1 } as const;
`;

describe("constants that are put where they are used", () => {
  it("are those of objects of numbers that a file exports", () => {
    expect([...constantsOf(file).keys()]).toEqual(["Port"]);
    expect([...(constantsOf(file).get("Port") ?? [])]).toEqual([
      ["DATA", "0x3f8"],
      ["BIG", "1000n"],
      ["LOW", "-2"],
    ]);
  });

  it.each([
    ["Port.DATA + Port.DATA", "0x3f8 + 0x3f8"],
    ["2 ** Port.LOW", "2 ** (-2)"],
    ["f(a.b[Port.BIG])", "f(a.b[1000n])"],
    ["Port['DATA']", undefined],
    ["Port[DATA]", undefined],
    ["Port.OTHER", undefined],
    ["Object.keys(Port)", undefined],
    ["this.Port.DATA", undefined],
    ["'Port.DATA'", undefined],
  ])("in %s", (text, wanted) => {
    const put = (word: string) => `import { Port } from "./port.js";\nexport const x = ${word};\n`;
    const seen = inlined(put(text), parseAst(put(text)), constantsOf(file));
    expect(seen).toBe(put(wanted ?? text));
  });

  it("only where the name is the imported one", () => {
    const code =
      'import { Port as P } from "./a.js";\nconst Port = other;\nf(P.DATA, Port.DATA);\n';
    expect(inlined(code, parseAst(code), constantsOf(file))).toContain("f(0x3f8, Port.DATA)");
  });
});
