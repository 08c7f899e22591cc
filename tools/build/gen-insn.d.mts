/** Classes of register operands: what the decoder stores in `a` and `b`. Numbers are used in decode.ts. */
export declare const CLASS: {
    none: number;
    gpr8: number;
    gpr: number;
    xmm: number;
    raw3: number;
    raw4: number;
};
/** All rows, of the named families only when given. */
export declare function readRows(families: any): Promise<{
    text: any;
    family: any;
    asm: any;
    map: number;
    opcode: number;
    prefix: undefined;
    digit: undefined;
    form: undefined;
    modrm: boolean;
    plus: boolean;
    imm: string;
}[]>;
/** The decoder's tables as AssemblyScript. */
export declare function tablesFile(rows: any): string;
/** How many operations the rows need. */
export declare const countOps: (rows: any) => number;
/** The dispatch switch as AssemblyScript. */
export declare function dispatchFile(rows: any): string;
