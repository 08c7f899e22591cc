/** libslirp: a network in user space that needs no privileges, as QEMU has it. */

import { HostError } from "../../../base/index.js";
import { koffi, type LibraryHandle } from "../koffi.js";
import type { Forward, UserLinkRequest } from "./link.js";
import { copyFrom, PollEvent, type PollList } from "./system.js";

/** What a network of the thread gives to the guest, and says. */
export interface LinkHost {
  /** A frame for the guest, whose checksums are right. */
  receive(bytes: Uint8Array): void;
  say(text: string): void;
}

/** Events of SLIRP_POLL_*. */
const SlirpPoll = { IN: 1, OUT: 2, PRI: 4, ERR: 8, HUP: 16 } as const;
const pairs = (["IN", "OUT", "PRI", "ERR", "HUP"] as const).map(
  (name) => [SlirpPoll[name], PollEvent[name]] as const,
);
const toPoll = (events: number): number =>
  pairs.reduce((all, [slirp, poll]) => all | (events & slirp ? poll : 0), 0);
const fromPoll = (events: number): number =>
  pairs.reduce((all, [slirp, poll]) => all | (events & poll ? slirp : 0), 0);

/** Offsets of `SlirpConfig`, of versions 1 to 4, on 64-bit systems. Addresses are in network order. */
const Config = {
  SIZE: 184,
  version: 0,
  in_enabled: 8,
  vnetwork: 12,
  vnetmask: 16,
  vhost: 20,
  in6_enabled: 24,
  vprefix_addr6: 28,
  vprefix_len: 44,
  vhost6: 48,
  vdhcp_start: 96,
  vnameserver: 100,
  vnameserver6: 104,
  disable_host_loopback: 152,
} as const;

/** A timer of libslirp: it has one, for IPv6 router advertisements. */
interface SlirpTimer {
  readonly id: number;
  readonly opaque: number;
  /** Milliseconds; undefined while it is not armed. */
  deadline: number | undefined;
}

/** One network. */
export class SlirpLink {
  readonly #library: Library;
  readonly #slirp: number;
  readonly #id: number;

  /** @throws HostError NO_LIBSLIRP when the library is missing; NET_UNUSABLE when a port cannot be had. */
  constructor(request: UserLinkRequest, host: LinkHost) {
    this.#library = Library.get();
    this.#id = this.#library.register(host);
    this.#slirp = this.#library.create(configFor(request, this.#library.version), this.#id);
    try {
      for (const forward of request.forwards) this.#library.forward(this.#slirp, forward);
    } catch (refusal) {
      this.close();
      throw refusal;
    }
  }

  /** A frame of the guest. */
  send(bytes: Uint8Array): void {
    this.#library.input(this.#slirp, bytes);
  }

  /** Adds what is to be polled. @returns milliseconds after which it wants its turn at the latest. */
  fill(list: PollList, most: number): number {
    return this.#library.fill(this.#slirp, list, most);
  }

  /** Does what there is to do after a poll. */
  react(list: PollList): void {
    this.#library.react(this.#slirp, list, this.#id);
  }

  close(): void {
    this.#library.cleanup(this.#slirp);
    this.#library.forget(this.#id);
  }
}

function configFor({ subnet, hostLoopback }: UserLinkRequest, version: number): Uint8Array {
  const config = new Uint8Array(Config.SIZE);
  const view = new DataView(config.buffer);
  const ipv4 = (last: number): number[] => [10, 0, subnet, last];
  const ipv6 = (last: number): number[] => [
    ...[0xfe, 0xc0, 0, 0, 0, 0, 0, subnet - 2],
    ...[0, 0, 0, 0, 0, 0, 0, last],
  ];
  view.setUint32(Config.version, version, true);
  config[Config.in_enabled] = 1;
  config.set(ipv4(0), Config.vnetwork);
  config.set([255, 255, 255, 0], Config.vnetmask);
  config.set(ipv4(2), Config.vhost);
  view.setInt32(Config.in6_enabled, 1, true);
  config.set(ipv6(0), Config.vprefix_addr6);
  config[Config.vprefix_len] = 64;
  config.set(ipv6(2), Config.vhost6);
  config.set(ipv4(15), Config.vdhcp_start);
  config.set(ipv4(3), Config.vnameserver);
  config.set(ipv6(3), Config.vnameserver6);
  config[Config.disable_host_loopback] = hostLoopback ? 0 : 1;
  return config;
}

const u32 = (bytes: readonly number[]): number =>
  new DataView(Uint8Array.from(bytes).buffer).getUint32(0, true);

const EADDRINUSE = 98;
const EACCES = 13;

/** The library itself; one for all networks of a thread. Pointers are numbers. */
class Library {
  static #loaded: Library | undefined;
  readonly #hosts = new Map<number, LinkHost>();
  readonly #timers = new Map<number, { readonly owner: number; readonly timer: SlirpTimer }>();
  #serial = 0;
  /** Of the structure of settings that it knows. */
  readonly version: number;
  /** libslirp keeps the address of this, and calls what is in it. */
  readonly #callbacks: Uint8Array;
  readonly #registered: unknown[] = [];
  readonly #functions: ReturnType<typeof functionsOf>;
  /** The list of the call that is under way. */
  #list: PollList | undefined;
  readonly #onAdd: unknown;
  readonly #onRevents: unknown;

  private constructor() {
    this.#functions = functionsOf(loadLibrary());
    const [major = 0, minor = 0] = this.#functions.version_string().split(".").map(Number);
    // Version 4 came with 4.7. Before that, its one timer is not served: routers advertise when they are asked.
    this.version = major > 4 || (major === 4 && minor >= 7) ? 4 : 1;
    this.#callbacks = this.#makeCallbacks();
    this.#onAdd = this.#register(
      "int kx_add(int, int, uintptr_t)",
      (fd: number, events: number) => this.#list?.add(fd, toPoll(events)) ?? -1,
    );
    this.#onRevents = this.#register("int kx_revents(int, uintptr_t)", (at: number) =>
      fromPoll(this.#list?.events(at) ?? 0),
    );
  }

  static get(): Library {
    Library.#loaded ??= new Library();
    return Library.#loaded;
  }

  register(host: LinkHost): number {
    this.#serial += 1;
    this.#hosts.set(this.#serial, host);
    return this.#serial;
  }

  forget(id: number): void {
    this.#hosts.delete(id);
    for (const [handle, { owner }] of this.#timers) if (owner === id) this.#timers.delete(handle);
  }

  create(config: Uint8Array, id: number): number {
    const slirp = Number(this.#functions.create(config, this.#callbacks, id));
    if (slirp === 0)
      throw new HostError("NET_UNUSABLE", "--net user: libslirp refuses its settings");
    return slirp;
  }

  input(slirp: number, bytes: Uint8Array): void {
    this.#functions.input(slirp, bytes, bytes.length);
  }

  cleanup(slirp: number): void {
    this.#functions.cleanup(slirp);
  }

  forward(slirp: number, forward: Forward): void {
    const { isUdp, hostAddress, hostPort, guestAddress, guestPort } = forward;
    const host = { s_addr: u32(hostAddress) };
    const guest = { s_addr: u32(guestAddress) };
    const udp = isUdp ? 1 : 0;
    if (this.#functions.hostfwd(slirp, udp, host, hostPort, guest, guestPort) === 0) return;
    const errno = koffi.errno();
    const reason =
      errno === EADDRINUSE
        ? "another program uses it"
        : errno === EACCES
          ? "ports below 1024 need privileges"
          : "the host has no such address, or refuses";
    const port = `${isUdp ? "udp" : "tcp"} port ${hostPort} of ${hostAddress.join(".")}`;
    throw new HostError("NET_UNUSABLE", `--net user: ${port} cannot be had: ${reason}`);
  }

  fill(slirp: number, list: PollList, most: number): number {
    const timeout = new Uint32Array([most]);
    this.#list = list;
    this.#functions.fill(slirp, timeout, this.#onAdd, 0);
    this.#list = undefined;
    const now = performance.now();
    let least = timeout[0] ?? most;
    for (const { timer } of this.#timers.values()) {
      if (timer.deadline !== undefined) {
        least = Math.min(least, Math.max(0, Math.ceil(timer.deadline - now)));
      }
    }
    return least;
  }

  react(slirp: number, list: PollList, id: number): void {
    this.#list = list;
    this.#functions.react(slirp, 0, this.#onRevents, 0);
    this.#list = undefined;
    for (const { owner, timer } of [...this.#timers.values()]) {
      if (owner !== id || timer.deadline === undefined || timer.deadline > performance.now())
        continue;
      timer.deadline = undefined;
      this.#functions.handleTimer?.(slirp, timer.id, timer.opaque);
    }
  }

  /** `SlirpCb`: pointers in the order of the header. */
  #makeCallbacks(): Uint8Array {
    const callbacks: [string, (...args: never[]) => unknown][] = [
      ["int64_t kx_send_packet(uintptr_t, size_t, uintptr_t)", this.#sendPacket],
      ["void kx_guest_error(const char *, uintptr_t)", this.#guestError],
      ["int64_t kx_clock_get_ns(uintptr_t)", () => Math.round(performance.now() * 1e6)],
      ["uintptr_t kx_timer_new(uintptr_t, uintptr_t, uintptr_t)", () => 0],
      [
        "void kx_timer_free(uintptr_t, uintptr_t)",
        (handle: number) => this.#timers.delete(Number(handle)),
      ],
      ["void kx_timer_mod(uintptr_t, int64_t, uintptr_t)", this.#timerMod],
      // Descriptors are collected anew for each poll.
      ["void kx_register_poll_fd(int, uintptr_t)", () => undefined],
      ["void kx_unregister_poll_fd(int, uintptr_t)", () => undefined],
      ["void kx_notify(uintptr_t)", () => undefined],
      ["void kx_init_completed(uintptr_t, uintptr_t)", () => undefined],
      ["uintptr_t kx_timer_new_opaque(int, uintptr_t, uintptr_t)", this.#timerNew],
    ];
    const table = new BigUint64Array(callbacks.length);
    for (const [i, [prototype, callback]] of callbacks.entries()) {
      table[i] = BigInt(koffi.address(this.#register(prototype, callback) as object));
    }
    return new Uint8Array(table.buffer);
  }

  /** A function that C may call, for as long as this program runs. */
  #register(prototype: string, callback: (...args: never[]) => unknown): unknown {
    const type = koffi.pointer(koffi.proto(prototype));
    const pointer = koffi.register(callback, type);
    this.#registered.push(pointer);
    return pointer;
  }

  readonly #sendPacket = (address: number, length: number, id: number): number => {
    this.#hosts.get(Number(id))?.receive(copyFrom(Number(address), Number(length)));
    return Number(length);
  };

  readonly #guestError = (text: string, id: number): void =>
    this.#hosts.get(Number(id))?.say(text.trim());

  readonly #timerNew = (id: number, opaque: number, owner: number): number => {
    this.#serial += 1;
    const timer = { id, opaque: Number(opaque), deadline: undefined };
    this.#timers.set(this.#serial, { owner: Number(owner), timer });
    return this.#serial;
  };

  readonly #timerMod = (handle: number, deadline: number): void => {
    const timer = this.#timers.get(Number(handle))?.timer;
    if (timer !== undefined) timer.deadline = Number(deadline);
  };
}

function loadLibrary(): LibraryHandle {
  try {
    return koffi.load("libslirp.so.0");
  } catch (cause) {
    const message =
      "--net user needs libslirp, which is not installed: 'apt-get install libslirp0' has it";
    throw new HostError("NO_LIBSLIRP", message, { cause });
  }
}

function functionsOf(library: LibraryHandle) {
  koffi.struct("kx_in_addr", { s_addr: "uint32_t" });
  const find = (prototype: string) => library.func(prototype);
  const optional = (prototype: string) => {
    try {
      return find(prototype);
    } catch {
      return undefined;
    }
  };
  return {
    version_string: find("const char *slirp_version_string()") as unknown as () => string,
    create: find("uintptr_t slirp_new(const void *, const void *, uintptr_t)"),
    cleanup: find("void slirp_cleanup(uintptr_t)"),
    input: find("void slirp_input(uintptr_t, const void *, int)"),
    fill: find("void slirp_pollfds_fill(uintptr_t, _Inout_ void *, void *, uintptr_t)"),
    react: find("void slirp_pollfds_poll(uintptr_t, int, void *, uintptr_t)"),
    hostfwd: find(
      "int slirp_add_hostfwd(uintptr_t, int, kx_in_addr, int, kx_in_addr, int)",
    ) as unknown as (...args: unknown[]) => number,
    handleTimer: optional("void slirp_handle_timer(uintptr_t, int, uintptr_t)"),
  };
}
