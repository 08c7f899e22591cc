/**
 * Fast operations: specialised copies of the commonest instructions in 64-bit code, inlined into
 * the interpreter's big switch with the TLB look-up in place. The complete handlers of ops/ remain
 * the reference; a fast operation does the same for one operand size and form.
 *
 * An operation of the switch has a name such as `add4_rmb_F`: mnemonic and size in bytes, form, and
 * F when it sets flags, N when nobody reads them. Forms: destination then source, r register,
 * i immediate, m memory; b address = base + disp, x address = base + (index << scale) + disp.
 */
export declare const FORMS: string[];
/** How the decoder fills a fast record from a generic one; numbers are used in specialise.ts. */
export declare const PATTERN: {
    none: number;
    EG: number;
    GE: number;
    EI: number;
    AI: number;
    ZI: number;
    E: number;
    Z: number;
    GM: number;
    SHI: number;
    SH1: number;
    JCC: number;
    JMP: number;
    CALL: number;
    RET: number;
    JMPE: number;
    CALLE: number;
    CMOV: number;
    SET: number;
    GEI: number;
    NOP: number;
    BSWAP: number;
    XCHGA: number;
};
/** Families: a row of operations by size and form. The order gives each its number. */
export declare const FAMILIES: string[];
/** The fast kind of an instruction row: pattern | family << 5, or 0. */
export declare function fastKind(row: any): any;
/** All fast operations: [{ name, body, end }], in the order of their numbers. */
export declare function fastOps(): any[];
/** Interpreter loop with all fast operations, as AssemblyScript. */
export declare function interpretFile(): string;
/** Numbers of the fast operations, and the decoder's look-up from family, size and form. */
export declare function fastTablesFile(generic: any): string;
