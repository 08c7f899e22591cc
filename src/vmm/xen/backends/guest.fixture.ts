/** A guest's side of a device, for tests of backends: nodes, grants, ports and memory of a domain. */
import { grant_entry_v1 } from "../../../abi/xen/grant-table.js";
import { evtchnPort, PAGE_SIZE } from "../../../base/index.js";
import type { makeDomain } from "../kvm.fixture.js";
import { PRIVILEGED } from "../xenstore/node.js";
import { isXsError } from "../xenstore/path.js";
import { toBytes, toText } from "../xenstore/wire.js";

/** Frame of the data page of a grant. */
export const frameOf = (ref: number): number => 0x100 + ref;

const ENTRY = grant_entry_v1.size;

export class GuestSide {
  readonly test: ReturnType<typeof makeDomain>;
  readonly frontend: string;
  readonly backend: string;

  /** `place`: class and ID, such as `vbd/51712`. */
  constructor(test: ReturnType<typeof makeDomain>, place: string) {
    const [kind, id] = place.split("/");
    this.test = test;
    this.frontend = `/local/domain/1/device/${place}`;
    this.backend = `/local/domain/0/backend/${kind}/1/${id}`;
  }

  /** Writes a node of the frontend's directory. */
  write(name: string, value: string): void {
    const error = this.test.domain.store.write(1, 0, `${this.frontend}/${name}`, toBytes(value));
    if (error !== undefined) throw new Error(`${name}: ${error}`);
  }

  /** What the guest may read of the backend's directory. */
  read(name: string): string | undefined {
    const value = this.test.domain.store.read(1, 0, `${this.backend}/${name}`);
    return isXsError(value) ? undefined : toText(value);
  }

  /** Any node, as domain 0 sees it. */
  peek(path: string): string | undefined {
    const value = this.test.domain.store.read(PRIVILEGED, 0, path);
    return isXsError(value) ? undefined : toText(value);
  }

  /** What the backend says is wrong with the frontend. */
  error(): string | undefined {
    const place = this.backend.replace("/backend/", "/error/backend/");
    return this.peek(`${place}/error`);
  }

  /** All states that the backend shows from now on. */
  watchStates(): string[] {
    const seen: string[] = [];
    const path = `${this.backend}/state`;
    const fire = (): void => {
      const state = this.peek(path) ?? "gone";
      if (seen.at(-1) !== state) seen.push(state);
    };
    this.test.domain.store.watch({ domid: PRIVILEGED, path, token: "test", fire });
    return seen;
  }

  /** Fills an entry of the grant table. */
  grant(ref: number, gfn: number, options: { flags?: number; domid?: number } = {}): void {
    const entry = { flags: options.flags ?? 1, domid: options.domid ?? 0, frame: gfn };
    const page = this.test.domain.grantFrames[Math.floor(ref / 512)];
    page?.write((ref % 512) * ENTRY, grant_entry_v1.encode(entry));
  }

  /** Flags of an entry: those that say that it is in use, too. */
  flags(ref: number): number {
    const page = this.test.domain.grantFrames[Math.floor(ref / 512)];
    return grant_entry_v1.decode(page?.read((ref % 512) * ENTRY, ENTRY) as Uint8Array).flags;
  }

  /** A new port for the backend. */
  port(): number {
    return this.test.domain.ports.allocUnbound(0);
  }

  /**
   * What a device was saved as, as it comes out of a file and with a change. The device itself is forgotten: its nodes are
   * gone, and its port `port0` (0: it had none) is a new one, for another device in its place.
   */
  leave<Saved>(saved: unknown, port0: number, change: (saved: Saved) => void): Saved {
    const copy: Saved = JSON.parse(JSON.stringify(saved));
    change(copy);
    const { store, ports } = this.test.domain;
    store.forget(0);
    if (port0 !== 0) ports.close(evtchnPort(port0));
    if (port0 !== 0 && this.port() !== port0) throw new Error("the port is another one");
    return copy;
  }

  /** EVTCHNOP_send. */
  notify(port: number): void {
    this.test.domain.ports.send(evtchnPort(port));
  }

  /** Where there is no memory, as in a page that was given back, nothing happens. */
  writeMemory(gfn: number, offset: number, bytes: Uint8Array): void {
    this.test.domain.memory.write(gfn * PAGE_SIZE + offset, bytes);
  }

  readMemory(gfn: number, offset: number, length: number): Uint8Array {
    return this.test.domain.memory.read(gfn * PAGE_SIZE + offset, length) as Uint8Array;
  }
}
