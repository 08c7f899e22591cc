/** The inspector of `exec`: pages are served by the main thread, and the VMs are those of the server's thread. */
import { MessageChannel, type MessagePort, receiveMessageOnPort } from "node:worker_threads";
import {
  type Every,
  type FromInspected,
  Inspection,
  type InspectOutput,
  type InspectTarget,
  type ToInspected,
} from "../inspect/index.js";
import type { Vm } from "../kvm/index.js";
import type { Clock } from "../ports/index.js";
import type { TraceRing } from "../trace/index.js";
import { C, close, eventfd, write } from "./libc.js";
import type { Reactor } from "./reactor.js";

/**
 * VMs in a view: the first ones that are open.
 * @limit client | VMs of exec that an inspector shows | VMs | the others are not shown
 */
const MAX_VMS = 32;

/** From the thread that serves pages. `id` names a page. */
type ToServer =
  | { readonly kind: "open"; readonly id: number }
  | { readonly kind: "message"; readonly id: number; readonly message: ToInspected }
  | { readonly kind: "close"; readonly id: number };

/** To the thread that serves pages. */
type FromServer =
  | { readonly kind: "message"; readonly id: number; readonly message: FromInspected }
  | { readonly kind: "events"; readonly id: number; readonly bytes: Uint8Array<ArrayBuffer> };

/** What the server's thread is given: the port is transferred. */
export interface InspectRequest {
  readonly port: MessagePort;
  /** An eventfd: something is at the port. */
  readonly wake: number;
}

/** In the thread that serves pages. */
export class ExecInspector {
  readonly #channel = new MessageChannel();
  readonly #wake = eventfd(0, C.EFD_CLOEXEC);
  readonly #pages = new Map<number, InspectOutput>();
  #next = 1;

  constructor() {
    const { port1 } = this.#channel;
    port1.on("message", (message: FromServer) => this.#hear(message));
    port1.unref();
  }

  /** For the thread that is started. */
  get request(): InspectRequest {
    return { port: this.#channel.port2, wake: this.#wake };
  }

  /** A page attaches. */
  connect(output: InspectOutput): { receive(message: ToInspected): void; close(): void } {
    const id = this.#next++;
    this.#pages.set(id, output);
    this.#say({ kind: "open", id });
    return {
      receive: (message) => this.#say({ kind: "message", id, message }),
      close: () => {
        this.#pages.delete(id);
        this.#say({ kind: "close", id });
      },
    };
  }

  /** The thread has ended. */
  close(): void {
    this.#channel.port1.close();
    close(this.#wake);
  }

  #say(message: ToServer): void {
    this.#channel.port1.postMessage(message);
    write(this.#wake, new Uint8Array([1, 0, 0, 0, 0, 0, 0, 0]), 8);
  }

  #hear(message: FromServer): void {
    const page = this.#pages.get(message.id);
    if (message.kind === "events") page?.sendEvents(message.bytes);
    else page?.send(message.message);
  }
}

/** In the server's thread: all its VMs. Of several pages the newest has them. */
export class InspectedVms {
  readonly #request: InspectRequest;
  readonly #target: InspectTarget;
  readonly #every: Every;
  readonly #vms = new Map<number, Vm>();
  #ring: TraceRing | undefined;
  #next = 0;
  #page: { readonly id: number; readonly inspection: Inspection } | undefined;

  constructor(request: InspectRequest, clock: Clock, reactor: Reactor) {
    this.#request = request;
    this.#every = (ms, callback) => every(reactor, ms, callback);
    this.#target = {
      ...{ inspected: "exec", clock },
      watch: (ring) => this.#watch(ring),
      view: () => ({ state: "running", vms: this.#views() }),
      setHvm: (vm, attr) => this.#vm(vm).xen.setAttr(attr),
      setVcpu: (vm, vcpu, attr) => this.#vm(vm).setVcpuXenAttr(vcpu, attr),
      // The program decides.
      control: () => undefined,
    };
    reactor.watch(request.wake, () => this.#receive(), true);
  }

  /** A VM that was made. */
  add(vm: Vm): void {
    this.#forgetClosed();
    const number = this.#next++;
    this.#vms.set(number, vm);
    vm.trace = this.#ring?.source(number);
  }

  #watch(ring: TraceRing | undefined): void {
    this.#ring = ring;
    for (const [number, vm] of this.#vms) vm.trace = ring?.source(number);
  }

  #views(): ReturnType<InspectTarget["view"]>["vms"] {
    this.#forgetClosed();
    return [...this.#vms].slice(0, MAX_VMS).map(([vm, of]) => ({
      ...{ vm, kvm: of.xenView(), domain: undefined },
      ...{ instructions: of.instructions, counters: of.engineCounters },
    }));
  }

  #vm(number: number): Vm {
    this.#forgetClosed();
    const vm = this.#vms.get(number);
    if (vm === undefined) throw new RangeError(`no VM ${number}`);
    return vm;
  }

  #forgetClosed(): void {
    for (const [number, vm] of this.#vms) if (vm.isClosed) this.#vms.delete(number);
  }

  #receive(): void {
    const { port } = this.#request;
    for (
      let got = receiveMessageOnPort(port);
      got !== undefined;
      got = receiveMessageOnPort(port)
    ) {
      this.#hear(got.message as ToServer);
    }
  }

  #hear(message: ToServer): void {
    const { id } = message;
    if (message.kind === "open") {
      this.#page?.inspection.close();
      const { port } = this.#request;
      const say = (said: FromServer) => port.postMessage(said);
      const output: InspectOutput = {
        send: (sent) => say({ kind: "message", id, message: sent }),
        sendEvents: (bytes) => say({ kind: "events", id, bytes }),
      };
      this.#page = { id, inspection: new Inspection(this.#target, output, this.#every) };
      return;
    }
    if (this.#page?.id !== id) return;
    if (message.kind === "message") this.#page.inspection.receive(message.message);
    else {
      this.#page.inspection.close();
      this.#page = undefined;
    }
  }
}

function every(reactor: Reactor, ms: number, callback: () => void): () => void {
  let take = (): void => undefined;
  const again = (): void => {
    take = reactor.after(ms, () => {
      again();
      callback();
    });
  };
  again();
  return () => take();
}
