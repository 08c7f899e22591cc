/** A stream of bytes in both directions: a terminal, a pipe, a test. */
export interface ByteStream {
  /** Sends bytes out. The array is borrowed: it is copied or used before the call returns. */
  write(bytes: Uint8Array): void;
  /** Registers the one receiver of incoming bytes. */
  onData(receiver: (bytes: Uint8Array) => void): void;
  /**
   * Bytes that can be written now. More are taken too, but have to be kept for a reader that does not read: a
   * guest is made to wait instead. Absent: as many as one likes.
   */
  readonly room?: number;
  /** Registers the one who hears that there is room again after there was none. */
  onRoom?(listener: () => void): void;
}

/** Messages for people about the running VM, such as a hypercall that is not known. */
export interface Log {
  /** One line without a line break. */
  warn(message: string): void;
  /** One line of detail, normally not shown. */
  debug(message: string): void;
  /** Details are shown. */
  readonly showsDetails?: boolean;
}

/** A source of random bytes. */
export interface Entropy {
  /** Fills the array with random bytes. */
  fill(bytes: Uint8Array): void;
}
