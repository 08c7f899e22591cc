/** What the thread of networks is told, and what it says; see network-thread.ts and worker.ts. */

/** A port of the host that leads into the guest: addresses as 4 numbers. */
export interface Forward {
  readonly isUdp: boolean;
  readonly hostAddress: readonly number[];
  readonly hostPort: number;
  readonly guestAddress: readonly number[];
  readonly guestPort: number;
}

/** A network that is to be opened. */
export type LinkRequest = UserLinkRequest | TapLinkRequest;

/** An interface of the host. */
export interface TapLinkRequest {
  readonly kind: "tap";
  readonly name: string;
}

/** A network of libslirp. */
export interface UserLinkRequest {
  readonly kind: "user";
  /** N in 10.0.N.0/24 and fec0:0:0:N-2::/64. */
  readonly subnet: number;
  readonly hostLoopback: boolean;
  readonly forwards: readonly Forward[];
}

/** To the thread. */
export type ToThread =
  | {
      readonly kind: "open";
      readonly id: number;
      readonly link: LinkRequest;
      /** Frames of the guest, and for it. */
      readonly sent: SharedArrayBuffer;
      readonly received: SharedArrayBuffer;
    }
  | { readonly kind: "close"; readonly id: number }
  | { readonly kind: "end" };

/** From the thread. */
export type FromThread =
  | { readonly kind: "opened"; readonly id: number }
  | {
      readonly kind: "refused";
      readonly id: number;
      readonly code: string;
      readonly message: string;
    }
  | { readonly kind: "closed"; readonly id: number }
  /** There are frames, or there is room. */
  | { readonly kind: "woken"; readonly id: number }
  | { readonly kind: "said"; readonly id: number; readonly text: string };
