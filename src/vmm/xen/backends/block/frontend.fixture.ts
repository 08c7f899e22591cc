/** A block frontend in a test's hand: a ring in guest memory, requests and responses. */

import type { Width } from "../../../../abi/layout.js";
import {
  BLKIF_REQUEST_INDIRECT_GREFS,
  BLKIF_REQUEST_SEGMENTS,
  BLKIF_REQUEST_SIZE,
  BlkifOp,
  blkif_request_discard,
  blkif_request_head,
  blkif_request_indirect_head,
  blkif_request_segment,
  blkif_response,
} from "../../../../abi/xen/blkif.js";
import { Sring } from "../../../../abi/xen/ring.js";
import { makeDomain } from "../../kvm.fixture.js";
import { frameOf, GuestSide } from "../guest.fixture.js";
import { BlockBackend } from "./block-backend.js";
import { ManualDisk } from "./disk.fixture.js";

/** A segment: reference, first and last sector of the page. */
export type Seg = readonly [ref: number, first: number, last: number];

/** Frame of the ring, its grant, and the frames from which data pages are taken: grant R is frame 0x100 + R. */
const RING_GFN = 0x50;
export const RING_REF = 8;

export class BlockFrontend extends GuestSide {
  readonly width: Width;
  port0 = 0;
  #produced = 0;
  #consumed = 0;

  constructor(test: ReturnType<typeof makeDomain>, width: Width = 64, id = "51712") {
    super(test, `vbd/${id}`);
    this.width = width;
  }

  /** Makes an empty ring and the keys, and goes to `state`. Data pages 16 to 79 are granted. */
  connect(state = 3): void {
    this.#produced = 0;
    this.#consumed = 0;
    this.ring(Sring.req_prod, 0);
    this.ring(Sring.rsp_prod, 0);
    this.ring(Sring.req_event, 1);
    this.ring(Sring.rsp_event, 1);
    this.grant(RING_REF, RING_GFN);
    for (let ref = 16; ref < 80; ref++) this.grant(ref, frameOf(ref));
    this.port0 = this.port();
    this.write("ring-ref", `${RING_REF}`);
    this.write("event-channel", `${this.port0}`);
    this.write("protocol", this.width === 64 ? "x86_64-abi" : "x86_32-abi");
    this.write("state", `${state}`);
  }

  /** Reads a word of the ring, or writes it. */
  ring(offset: number, value?: number): number {
    const at = RING_GFN * 4096 + offset;
    if (value !== undefined) this.test.domain.memory.writeU32(at, value);
    return this.test.domain.memory.readU32(at) as number;
  }

  /** Puts the bytes of a request into the next slot. The backend does not know yet. */
  put(request: Uint8Array): void {
    const size = BLKIF_REQUEST_SIZE[this.width];
    const slot = new Uint8Array(size);
    slot.set(request);
    this.writeMemory(RING_GFN, 64 + (this.#produced % 32) * size, slot);
    this.#produced += 1;
  }

  /** A request with segments of its own. */
  request(operation: number, id: bigint, sector: bigint, segments: readonly Seg[]): Uint8Array {
    const bytes = new Uint8Array(BLKIF_REQUEST_SIZE[this.width]);
    const head = { operation, nr_segments: segments.length, handle: 0, id, sector_number: sector };
    bytes.set(blkif_request_head.of(this.width).encode(head));
    const room = segments.slice(0, 11);
    bytes.set(encodeSegments(room), BLKIF_REQUEST_SEGMENTS[this.width]);
    return bytes;
  }

  /** A request whose segments are in granted pages, which it fills. */
  indirect(
    inner: number,
    id: bigint,
    sector: bigint,
    segments: readonly Seg[],
    options: { pages?: readonly number[]; count?: number } = {},
  ): Uint8Array {
    const bytes = new Uint8Array(BLKIF_REQUEST_SIZE[this.width]);
    const pages = options.pages ?? [79];
    const nr_segments = options.count ?? segments.length;
    const head = { operation: BlkifOp.INDIRECT, indirect_op: inner, nr_segments, id };
    bytes.set(
      blkif_request_indirect_head
        .of(this.width)
        .encode({ ...head, sector_number: sector, handle: 0 }),
    );
    const view = new DataView(bytes.buffer, BLKIF_REQUEST_INDIRECT_GREFS[this.width]);
    for (const [i, ref] of pages.entries()) {
      view.setUint32(i * 4, ref, true);
      const part = segments.slice(i * 512, (i + 1) * 512);
      if (ref >= 16 && ref < 80) this.writeMemory(frameOf(ref), 0, encodeSegments(part));
    }
    return bytes;
  }

  discard(id: bigint, sector: bigint, sectors: bigint, flag = 0): Uint8Array {
    const head = { operation: BlkifOp.DISCARD, flag, handle: 0, id };
    return blkif_request_discard
      .of(this.width)
      .encode({ ...head, sector_number: sector, nr_sectors: sectors });
  }

  /** Lets the backend see what was put, and tells it. */
  send(...requests: readonly Uint8Array[]): void {
    for (const request of requests) this.put(request);
    this.ring(Sring.req_prod, this.#produced);
    this.notify(this.port0);
  }

  /** Responses since the last call, as `id:operation:status`; none where the count of them makes no sense. */
  answers(): string[] {
    const answers: string[] = [];
    const size = BLKIF_REQUEST_SIZE[this.width];
    const produced = this.ring(Sring.rsp_prod);
    if ((produced - this.#consumed) >>> 0 > 32) this.#consumed = produced;
    for (; this.#consumed !== this.ring(Sring.rsp_prod); this.#consumed++) {
      const bytes = this.readMemory(RING_GFN, 64 + (this.#consumed % 32) * size, 16);
      const { id, operation, status } = blkif_response.of(this.width).decode(bytes);
      answers.push(`${id}:${operation}:${status}`);
    }
    this.ring(Sring.rsp_event, this.#consumed + 1);
    return answers;
  }

  /** Grants that the backend has in use, of all data pages. */
  inUse(): number[] {
    return Array.from({ length: 64 }, (_, i) => i + 16).filter((ref) => this.flags(ref) & 0x18);
  }
}

function encodeSegments(segments: readonly Seg[]): Uint8Array {
  const bytes = new Uint8Array(segments.length * 8);
  for (const [i, [gref, first_sect, last_sect]] of segments.entries()) {
    bytes.set(blkif_request_segment.encode({ gref, first_sect, last_sect }), i * 8);
  }
  return bytes;
}

/** A domain with a disk of 64 sectors, whose sector N is full of N + 1. */
export function withDisk(
  options: { readonly?: boolean; canDiscard?: boolean; width?: Width; sectors?: number } = {},
) {
  const disk = new ManualDisk(options.sectors ?? 64, options);
  const backend = new BlockBackend("xvda", disk);
  const test = makeDomain([backend]);
  const frontend = new BlockFrontend(test, options.width);
  return { disk, backend, test, frontend, domain: test.domain };
}
