/** Offsets and sizes of `struct xencons_interface` (Xen's `public/io/console.h`). */
export const Xencons = {
  /** Bytes to the guest. */
  in: 0,
  IN_SIZE: 1024,
  /** Bytes from the guest. */
  out: 1024,
  OUT_SIZE: 2048,
  in_cons: 3072,
  in_prod: 3076,
  out_cons: 3080,
  out_prod: 3084,
} as const;
