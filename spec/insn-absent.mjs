// @ts-check
/** Instructions that other processors have and this one does not: [mnemonics, what CPUID says, what they do here]. */
export const ABSENT = [
  [
    "AVX, AVX2, AVX-512, FMA, F16C (all VEX and EVEX encodings)",
    "AVX = 0, OSXSAVE without YMM state",
    "#UD",
  ],
  ["AESENC … AESKEYGENASSIST, PCLMULQDQ", "AES = 0, PCLMULQDQ = 0", "#UD"],
  ["SHA1*, SHA256*", "SHA = 0", "#UD"],
  ["ANDN BEXTR BLS* BZHI MULX PDEP PEXT RORX SARX SHLX SHRX", "BMI1 = BMI2 = 0", "#UD"],
  ["LZCNT, TZCNT", "LZCNT = 0, BMI1 = 0", "execute as BSR and BSF, as on processors without them"],
  ["ADCX, ADOX", "ADX = 0", "#UD"],
  ["3DNow!, EXTRQ INSERTQ MOVNTSD MOVNTSS (SSE4a), XOP, TBM", "0", "#UD"],
  ["XSAVEC, XSAVES, XRSTORS", "leaf 0xd sub-leaf 1 = XSAVEOPT only", "#UD"],
  [
    "MONITOR, MWAIT",
    "MONITOR = 0",
    "nothing, or #UD where KVM_X86_QUIRK_MWAIT_NEVER_UD_FAULTS is off",
  ],
  ["UMONITOR, UMWAIT, TPAUSE", "WAITPKG = 0", "#UD"],
  ["RDPRU, CLWB, CLDEMOTE, MOVDIRI, ENQCMD, SERIALIZE", "0", "#UD"],
  [
    "WRPKRU, RDPKRU, CET instructions other than ENDBR (a NOP)",
    "0",
    "#UD, NOP where architected as one",
  ],
  ["XBEGIN XEND XABORT XTEST", "RTM = HLE = 0", "#UD; XACQUIRE and XRELEASE are ignored"],
  ["VMX and SVM other than VMCALL and VMMCALL; SGX; SMX; RSM", "0", "#UD"],
];
