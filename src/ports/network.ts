import type { ArmLater } from "./clock.js";

/** An Ethernet frame, without its check sequence, and what is known of it. */
export interface Frame {
  /** At least the 14 bytes of the header, at most {@link MAX_FRAME}. Nobody changes them afterwards. */
  readonly bytes: Uint8Array;
  /**
   * The checksum of TCP or UDP: `valid`, it was checked or cannot be wrong; `blank`, it is still to be computed (its
   * field means nothing); `unknown` otherwise, and for all that is neither.
   */
  readonly checksum: "valid" | "blank" | "unknown";
  /**
   * Of a TCP packet that is larger than what a network carries: bytes of data of each segment that it is to be cut
   * into.
   */
  readonly segmentSize?: number;
}

/**
 * Bytes of a frame: the largest IP packet behind an Ethernet header with a VLAN tag.
 * @limit guest | bytes of an Ethernet frame | bytes | a longer one is not sent
 */
export const MAX_FRAME = 65535 + 18;

/** What a network takes as it is; for one that does not, whoever sends does the work. */
export interface NetworkOffers {
  /** Frames whose checksum is blank. */
  readonly checksum: boolean;
  /** Frames with a segment size. */
  readonly segmentation: boolean;
}

/** A part of what a network is in the middle of; what it means only the network knows. */
export interface KeptRecord {
  readonly what: string;
  readonly numbers: readonly number[];
  readonly bytes: Uint8Array;
  /** When it goes on, and which of those of one time comes first: see TimerHandle. */
  readonly timer?: { readonly atNs: number; readonly order: number } | undefined;
}

/**
 * A network, as one card sees it: frames both ways. Frames that wait for each other have their order; any frame may be
 * lost.
 */
export interface Network {
  readonly offers: NetworkOffers;
  /** There is no room for a frame at the moment; what is sent is lost. */
  readonly isFull: boolean;
  /** Sends a frame. Nothing is received before this has returned. */
  send(frame: Frame): void;
  /** Registers the one who hears that there is room again after there was none. */
  onRoom(listener: () => void): void;
  /**
   * Registers the one receiver of frames, which tells how many it took, from the first on. The others have no room:
   * the network keeps them, or loses them, and tries again after {@link resume}.
   */
  onFrames(receiver: (frames: readonly Frame[]) => number): void;
  /** The receiver has room again. */
  resume(): void;
  /** Virtual time only, and while that stands still: all that it is in the middle of. */
  kept?(): readonly KeptRecord[];
  /**
   * Takes the place of a network that was saved so. `later` arms its timers.
   * @throws HostError SNAPSHOT_DAMAGED; SNAPSHOT_DEVICES for what another kind of network has given.
   */
  keep?(kept: readonly KeptRecord[], later: ArmLater): void;
  /** Gives back what it has of the host. */
  close(): Promise<void>;
}
