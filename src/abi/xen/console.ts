import { bytes, struct, u32 } from "../layout.js";

/** The rings of the console (Xen's `public/io/console.h`). */
export const xencons_interface = struct("xencons_interface", {
  /** Bytes to the guest. */
  in: bytes(1024),
  /** Bytes from the guest. */
  out: bytes(2048),
  in_cons: u32,
  in_prod: u32,
  out_cons: u32,
  out_prod: u32,
});

/** The same by offsets and sizes. */
export const Xencons = {
  in: xencons_interface.offset("in"),
  IN_SIZE: xencons_interface.fields.in.size,
  out: xencons_interface.offset("out"),
  OUT_SIZE: xencons_interface.fields.out.size,
  in_cons: xencons_interface.offset("in_cons"),
  in_prod: xencons_interface.offset("in_prod"),
  out_cons: xencons_interface.offset("out_cons"),
  out_prod: xencons_interface.offset("out_prod"),
} as const;
