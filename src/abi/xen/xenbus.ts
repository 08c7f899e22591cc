/** States of the two ends of a paravirtual device (Xen's `public/io/xenbus.h`, `XenbusState*`). */
export const XenbusState = {
  Unknown: 0,
  Initialising: 1,
  InitWait: 2,
  Initialised: 3,
  Connected: 4,
  Closing: 5,
  Closed: 6,
  Reconfiguring: 7,
  Reconfigured: 8,
} as const;
/** One of {@link XenbusState}. */
export type XenbusState = (typeof XenbusState)[keyof typeof XenbusState];
