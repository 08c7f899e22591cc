/** Instructions that other processors have and this one does not: [mnemonics, what CPUID says, what they do here]. */
export declare const ABSENT: string[][];
