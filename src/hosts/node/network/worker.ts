/**
 * The thread of networks: one for all cards of this process. It waits in poll(2) for the sockets of all of them and for
 * the other thread, which it shares memory with; the pool of Node, which disks use, has nothing to do with it.
 */
import { type MessagePort, receiveMessageOnPort, workerData } from "node:worker_threads";
import { HostError } from "../../../base/index.js";
import { FrameRing } from "./frame-ring.js";
import { type LinkHost, SlirpLink } from "./libslirp.js";
import type { FromThread, ToThread } from "./link.js";
import { PollEvent, PollList, quieten } from "./system.js";
import { TapLink } from "./tap.js";

/** What the thread is started with. */
export interface ThreadData {
  readonly port: MessagePort;
  /** A descriptor that wakes it. */
  readonly waker: number;
}

interface OpenLink {
  readonly id: number;
  readonly link: SlirpLink | TapLink;
  readonly sent: FrameRing;
  readonly received: FrameRing;
}

/**
 * Longest sleep in milliseconds: a process that ends must not wait for long, whatever happened to its message.
 * @nolimit a time of its own
 */
const MAX_SLEEP = 500;
/**
 * Bytes for a guest above which its network is not asked for more.
 * @limit guest | bytes of a network that a guest does not take | bytes | its network waits, and TCP with it
 */
const MAX_WAITING = 512 << 10;
/** Frames of one guest before the others have their turn. */
const BATCH = 256;

const { port, waker } = workerData as ThreadData;
const links = new Map<number, OpenLink>();
const list = new PollList();
let isEnding = false;

const say = (message: FromThread): void => port.postMessage(message);

function open(message: Extract<ToThread, { kind: "open" }>): void {
  const { id } = message;
  const sent = new FrameRing(message.sent);
  const received = new FrameRing(message.received);
  // libslirp makes its checksums here; what comes by a cable may have been damaged on its way.
  const checksum = message.link.kind === "user" ? "valid" : "unknown";
  const host: LinkHost = {
    // Where there is no room it is lost: that is beyond what the network is asked for.
    receive: (bytes) => void received.push({ bytes, checksum }),
    say: (text) => say({ kind: "said", id, text }),
  };
  try {
    const request = message.link;
    const link =
      request.kind === "user" ? new SlirpLink(request, host) : new TapLink(request.name, host);
    links.set(id, { id, link, sent, received });
    say({ kind: "opened", id });
  } catch (error) {
    const isRefusal = error instanceof HostError;
    const code = isRefusal ? error.code : "NET_UNUSABLE";
    say({ kind: "refused", id, code, message: isRefusal ? error.message : String(error) });
  }
}

function listen(): void {
  for (;;) {
    const message = (receiveMessageOnPort(port) as { message: ToThread } | undefined)?.message;
    if (message === undefined) return;
    if (message.kind === "open") open(message);
    else if (message.kind === "end") isEnding = true;
    else {
      links.get(message.id)?.link.close();
      links.delete(message.id);
      say({ kind: "closed", id: message.id });
    }
  }
}

/** Sends what a guest has written. @returns whether there is more. */
function drain({ id, link, sent }: OpenLink): boolean {
  sent.awake();
  let count = 0;
  for (; count < BATCH; count++) {
    const frame = sent.pop();
    if (frame === undefined) break;
    link.send(frame.bytes);
  }
  if (count > 0 && sent.takeWaiter()) say({ kind: "woken", id });
  return count === BATCH;
}

/** Tells the other thread of frames, unless it is about to look anyway. */
function deliver({ id, received }: OpenLink): void {
  if (received.used > 0 && received.takeSleeper()) say({ kind: "woken", id });
}

/** One turn of all networks. */
function turn(): void {
  listen();
  let timeout = MAX_SLEEP;
  for (const one of links.values()) {
    if (drain(one)) timeout = 0;
    deliver(one);
  }
  list.clear();
  list.add(waker, PollEvent.IN);
  const polled = [...links.values()].filter(
    // A guest that takes nothing: room is told of by the waker.
    ({ received }) => received.used < MAX_WAITING || !received.waitBelow(MAX_WAITING),
  );
  for (const { link } of polled) timeout = Math.min(timeout, link.fill(list, timeout));
  for (const { sent } of links.values()) if (!sent.sleep()) timeout = 0;
  list.poll(timeout);
  if (list.events(0) !== 0) quieten(waker);
  for (const one of polled) {
    one.link.react(list);
    deliver(one);
  }
}

while (!isEnding) turn();
for (const { link } of links.values()) link.close();
port.close();
