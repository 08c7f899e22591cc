/** Offsets of all fields: [{ name, type, count, offset, doc }], and the block's size. */
export declare function layOut(): {
    fields: {
        name: string | number | undefined;
        type: string | number | undefined;
        count: string | number | undefined;
        offset: number;
        doc: string | number | undefined;
        size: any;
    }[];
    size: number;
};
/** Start addresses of the regions of linear memory, and where they end. */
export declare function regions(): {
    list: {
        name: string | number | undefined;
        start: number;
        size: string | number | undefined;
        doc: string | number | undefined;
    }[];
    end: number;
};
/** The AssemblyScript file: absolute addresses. */
export declare function stateForCore(): string;
/** The TypeScript file: offsets in the block. */
export declare function stateForBridge(): string;
