// @ts-check
import { createHash } from "node:crypto";

/**
 * Scenarios of the xenstore protocol: files of steps, each followed by what the server answered. README.md
 * says how they are written. What plays them knows servers only as worlds: Debian's xenstored, or this
 * project's.
 *
 * @typedef {object} Page the page that a domain shares with the server
 * @property {(offset: number, length: number) => Uint8Array} read
 * @property {(offset: number, bytes: Uint8Array) => void} write
 *
 * @typedef {object} World
 * @property {(domid: number) => Page} page of domain 1, 2 or 3
 * @property {(domid: number) => void} kick the domain raises its event channel
 * @property {(bytes: Uint8Array) => void} send from domain 0
 * @property {() => Uint8Array} take what came for domain 0 since the last time
 * @property {() => Promise<void>} settle lets the server work
 * @property {(domid: number) => Promise<number>} memory bytes that count against a domain's quota
 * @property {number} patience how often to settle for an answer that does not come
 */

/** Message types by number (Xen's public/io/xs_wire.h). */
export const TYPES = [
  "CONTROL",
  "DIRECTORY",
  "READ",
  "GET_PERMS",
  "WATCH",
  "UNWATCH",
  "TRANSACTION_START",
  "TRANSACTION_END",
  "INTRODUCE",
  "RELEASE",
  "GET_DOMAIN_PATH",
  "WRITE",
  "MKDIR",
  "RM",
  "SET_PERMS",
  "WATCH_EVENT",
  "ERROR",
  "IS_DOMAIN_INTRODUCED",
  "RESUME",
  "SET_TARGET",
  "TYPE_20",
  "RESET_WATCHES",
  "DIRECTORY_PART",
];
const HEADER = 16;
const RING = 1024;
/** Offsets in struct xenstore_domain_interface. */
const WORDS = { req_cons: 2048, req_prod: 2052, rsp_cons: 2056, rsp_prod: 2060, error: 2072 };
/** Longer texts are cut, and have their length and a digest. */
const SHOWN = 160;

/**
 * Text of a step as bytes: `\0`, `\xHH`, `\\`, and `<a*9>` for nine of a.
 * @param {string} text
 */
function toBytes(text) {
  const long = text.replaceAll(/<([^*<>]+)\*(\d+)>/g, (_, part, n) => part.repeat(Number(n)));
  const plain = long.replaceAll(/\\(0|\\|x[0-9a-f]{2})/g, (_, code) =>
    code === "\\"
      ? "\\"
      : String.fromCharCode(code === "0" ? 0 : Number.parseInt(code.slice(1), 16)),
  );
  return Buffer.from(plain, "latin1");
}

/** @param {Uint8Array} bytes */
function toText(bytes) {
  const text = Buffer.from(bytes).toString("latin1");
  const shown = text.length > SHOWN ? text.slice(0, SHOWN / 2) : text;
  const escaped = [...shown]
    .map((char) => {
      if (char === "\\") return "\\\\";
      if (char === "\0") return "\\0";
      const code = char.charCodeAt(0);
      return code < 32 || code > 126 ? `\\x${code.toString(16).padStart(2, "0")}` : char;
    })
    .join("");
  if (shown === text) return escaped;
  const sum = createHash("sha256").update(text, "latin1").digest("hex").slice(0, 8);
  return `${escaped}... (${text.length} bytes, ${sum})`;
}

/** @param {Page} page @param {number} at */
const word = (page, at) => Buffer.from(page.read(at, 4)).readUInt32LE();
/** @param {Page} page @param {number} at @param {number} value */
function setWord(page, at, value) {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value >>> 0);
  page.write(at, bytes);
}

/**
 * Puts what there is room for into a domain's requests; says how many bytes.
 * @param {Page} page @param {Uint8Array} bytes
 */
function put(page, bytes) {
  const prod = word(page, WORDS.req_prod);
  const used = (prod - word(page, WORDS.req_cons)) >>> 0;
  const count = Math.min(RING - used, bytes.length, RING - (prod % RING));
  if (count <= 0) return 0;
  page.write(prod % RING, bytes.subarray(0, count));
  setWord(page, WORDS.req_prod, prod + count);
  return count;
}

/** Takes all responses that lie in the ring. @param {Page} page */
function takeResponses(page) {
  const cons = word(page, WORDS.rsp_cons);
  const count = (word(page, WORDS.rsp_prod) - cons) >>> 0;
  if (count === 0 || count > RING) return new Uint8Array(0);
  const ring = page.read(RING, RING);
  const bytes = Uint8Array.from({ length: count }, (_, i) => ring[(cons + i) % RING] ?? 0);
  setWord(page, WORDS.rsp_cons, cons + count);
  return bytes;
}

/** @param {number} type @param {number} reqId @param {number} txId @param {Uint8Array} payload */
function encode(type, reqId, txId, payload) {
  const header = Buffer.alloc(HEADER);
  [type, reqId, txId, payload.length].forEach((value, i) => {
    header.writeUInt32LE(value >>> 0, 4 * i);
  });
  return Buffer.concat([header, payload]);
}

/** Splits what a client received into messages. */
class Inbox {
  #bytes = Buffer.alloc(0);

  /** @param {Uint8Array} bytes */
  add(bytes) {
    this.#bytes = Buffer.concat([this.#bytes, bytes]);
  }

  next() {
    if (this.#bytes.length < HEADER) return undefined;
    const [type = 0, reqId = 0, txId = 0, length = 0] = [0, 4, 8, 12].map((at) =>
      this.#bytes.readUInt32LE(at),
    );
    if (this.#bytes.length < HEADER + length) return undefined;
    const payload = this.#bytes.subarray(HEADER, HEADER + length);
    this.#bytes = this.#bytes.subarray(HEADER + length);
    return { type, reqId, txId, payload };
  }
}

const DOMAINS = [1, 2, 3];
const STEP = /^([0-3]) (?:\*(\d+) )?([A-Za-z_0-9]+)(?:@(\w+))?(?: (.*?))?(?: > (\w+))?$/;

/** Plays one scenario in a world. */
class Player {
  #world;
  #reqId = 0;
  /** @type {Map<string, number>} */
  #names = new Map();
  #inboxes = [0, ...DOMAINS].map(() => new Inbox());
  /** Domains that do not read their responses. @type {Set<number>} */
  #deaf = new Set();

  /** @param {World} world */
  constructor(world) {
    this.#world = world;
  }

  #collect() {
    const { page, take, kick } = this.#world;
    let some = false;
    const got = [
      take(),
      ...DOMAINS.map((domid) => {
        if (this.#deaf.has(domid)) return new Uint8Array(0);
        const bytes = takeResponses(page(domid));
        if (bytes.length > 0) kick(domid);
        return bytes;
      }),
    ];
    got.forEach((bytes, i) => {
      some ||= bytes.length > 0;
      this.#inboxes[i]?.add(bytes);
    });
    return some;
  }

  /**
   * Sends bytes, and waits until all is quiet; the messages that came, by client.
   * @param {number} client @param {Uint8Array} bytes
   * @param {boolean} answered whether one message is expected at least
   */
  async #exchange(client, bytes, answered) {
    const { page, kick, send, settle, patience } = this.#world;
    let rest = bytes;
    /** @type {{ client: number, type: number, reqId: number, txId: number, payload: Uint8Array }[]} */
    const messages = [];
    if (client === 0) {
      send(rest);
      rest = rest.subarray(rest.length);
    }
    for (let quiet = 0; quiet < (answered && messages.length === 0 ? patience : 2); quiet++) {
      const count = rest.length > 0 ? put(page(client), rest) : 0;
      rest = rest.subarray(count);
      if (client > 0) kick(client);
      await settle();
      if (this.#collect() || count > 0) quiet = -1;
      this.#inboxes.forEach((inbox, from) => {
        for (let message = inbox.next(); message !== undefined; message = inbox.next())
          messages.push({ client: from, ...message });
      });
    }
    // The order among clients is nobody's.
    return messages.sort((a, b) => a.client - b.client);
  }

  /**
   * A request; its answers as lines.
   * @param {number} client @param {string} type @param {string} tx @param {string} text
   * @param {string} name of the transaction that is started
   */
  async #request(client, type, tx, text, name) {
    const number = TYPES.indexOf(type);
    const reqId = ++this.#reqId;
    const txId = tx === "" ? 0 : (this.#names.get(tx) ?? Number(tx));
    const bytes = encode(number, reqId, txId, toBytes(text));
    const messages = await this.#exchange(client, bytes, !this.#deaf.has(client));
    return messages.map((message) => {
      const kind = TYPES[message.type] ?? `TYPE_${message.type}`;
      const parts = kind === "DIRECTORY_PART";
      const whole = Buffer.from(message.payload).toString("latin1");
      let payload = toText(
        parts ? Buffer.from(whole.replace(/^\d+/, "GENERATION")) : message.payload,
      );
      if (name !== "" && message.type === number && message.client === client) {
        this.#names.set(name, Number.parseInt(payload, 10));
        payload = payload.replace(/^[1-9]\d*/, `$${name}`);
      }
      // An event's numbers are 0; an answer's are those of its request.
      const event = kind === "WATCH_EVENT";
      const right = message.reqId === (event ? 0 : reqId) && message.txId === (event ? 0 : txId);
      const odd = right ? "" : ` (request ${message.reqId - reqId}, transaction ${message.txId})`;
      return `  ${message.client} ${kind} ${payload}${odd}`;
    });
  }

  /**
   * A step that is no request.
   * @param {number} client @param {string} verb @param {string} text
   */
  async #other(client, verb, text) {
    const page = client > 0 ? this.#world.page(client) : undefined;
    switch (verb) {
      case "bytes":
        await this.#exchange(client, toBytes(text), false);
        return [];
      case "set": {
        const [name = "", value = ""] = text.split(" ");
        if (page) setWord(page, WORDS[/** @type {keyof typeof WORDS} */ (name)], Number(value));
        await this.#exchange(client, new Uint8Array(0), false);
        return [];
      }
      case "look":
        await this.#exchange(client, new Uint8Array(0), false);
        return page
          ? [
              `  ${Object.entries(WORDS)
                .map(([name, at]) => `${name} ${word(page, at)}`)
                .join(", ")}`,
            ]
          : [];
      case "memory":
        return [`  ${await this.#world.memory(client)} bytes`];
      case "deaf":
        this.#deaf.add(client);
        return [];
      case "hears": {
        this.#deaf.delete(client);
        const messages = await this.#exchange(client, new Uint8Array(0), true);
        /** @type {Map<string, number>} */
        const counts = new Map();
        for (const { type, payload } of messages) {
          const line = `${TYPES[type]} ${toText(payload)}`;
          counts.set(line, (counts.get(line) ?? 0) + 1);
        }
        return [...counts].map(([line, n]) => `  ${client} ${line}${n > 1 ? ` (${n} times)` : ""}`);
      }
      default:
        throw new Error(`xenstored: no step ${verb}`);
    }
  }

  /** @param {string} line */
  async step(line) {
    const [, client = "", times, verb = "", tx = "", text = "", name = ""] = STEP.exec(line) ?? [];
    const from = Number(client);
    if (client === "") throw new Error(`xenstored: not a step: ${line}`);
    if (!TYPES.includes(verb)) return this.#other(from, verb, text);
    if (times === undefined) return this.#request(from, verb, tx, text, name);
    // Equal answers one after the other are one line.
    /** @type {{ first: number, last: number, answer: string }[]} */
    const runs = [];
    for (let i = 0; i < Number(times); i++) {
      const each = text.replaceAll("%", String(i));
      const answers = await this.#request(from, verb, tx, each, name === "" ? "" : `${name}${i}`);
      const own = new RegExp(`(?<![\\d\\\\])${i}(?!\\d)`, "g");
      const answer = answers
        .map((a) =>
          a
            .slice(4)
            .replace(/, \w{8}\)/, ")")
            .replaceAll(own, "%"),
        )
        .join("; ");
      const run = runs.at(-1);
      if (run?.answer === answer) run.last = i;
      else runs.push({ first: i, last: i, answer });
    }
    return runs.map(({ first, last, answer }) => `  ${first}..${last}: ${answer}`);
  }
}

/**
 * The steps of a file with the answers of a world behind each.
 * @param {string} text of a file, with or without answers
 * @param {World} world
 */
export async function play(text, world) {
  const player = new Player(world);
  /** @type {string[]} */
  const lines = [];
  for (const line of text.split("\n")) {
    if (line.startsWith("  ")) continue;
    lines.push(line);
    if (line !== "" && !line.startsWith("#")) lines.push(...(await player.step(line)));
  }
  return lines.join("\n");
}
