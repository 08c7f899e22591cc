// @ts-check
import { spawn } from "node:child_process";
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readSync,
  rmSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** @param {string} path */
function filePage(path) {
  writeFileSync(path, new Uint8Array(4096));
  const file = openSync(path, "r+");
  return {
    read: (/** @type {number} */ offset, /** @type {number} */ length) => {
      const bytes = Buffer.alloc(length);
      readSync(file, bytes, 0, length, offset);
      return bytes;
    },
    write: (/** @type {number} */ offset, /** @type {Uint8Array} */ bytes) => {
      writeSync(file, bytes, 0, bytes.length, offset);
    },
    close: () => closeSync(file),
  };
}

const turn = () => new Promise((resolve) => setTimeout(resolve, 1));

/** @param {number} type @param {string} text */
function message(type, text) {
  const payload = Buffer.from(text, "latin1");
  const header = Buffer.alloc(16);
  header.writeUInt32LE(type, 0);
  header.writeUInt32LE(payload.length, 12);
  return Buffer.concat([header, payload]);
}

/** @param {string} path @returns {Promise<import("node:net").Socket>} */
async function dial(path) {
  for (let i = 0; ; i++) {
    const socket = connect(path);
    const ready = await new Promise((resolve) => {
      socket.once("connect", () => resolve(true));
      socket.once("error", () => resolve(false));
    });
    if (ready) return socket;
    if (i > 1000) throw new Error("xenstored: it does not listen");
    await turn();
  }
}

/**
 * A xenstored without a Xen: stub.c stands for the libraries that would ask it. Domain 0 is a client on its
 * socket, domains 1 to 3 are pages in files.
 * @param {string} program
 * @param {string} libraries folder of the stubs
 */
export async function startXenstored(program, libraries) {
  const folder = mkdtempSync(join(tmpdir(), "xenstored-"));
  const pages = [0, 1, 2, 3].map((domid) => filePage(join(folder, `page${domid}`)));
  mkdirSync(join(folder, "lib"));
  writeFileSync(join(folder, "port"), "1");
  const child = spawn(program, ["--no-fork"], {
    stdio: ["ignore", "inherit", "inherit"],
    env: {
      LD_LIBRARY_PATH: libraries,
      LD_PRELOAD: join(libraries, "preload.so"),
      XENSTORED_RUNDIR: folder,
      XENSTORED_ROOTDIR: join(folder, "lib"),
      XENSTORE_PAGES: folder,
    },
  });
  const path = join(folder, "socket");
  const socket = await dial(path);
  const probe = await dial(path);
  let received = Buffer.alloc(0);
  socket.on("data", (bytes) => {
    received = Buffer.concat([received, bytes]);
  });
  let echoed = Buffer.alloc(0);
  const complete = () => echoed.length >= 16 && echoed.length >= 16 + echoed.readUInt32LE(12);
  probe.on("data", (bytes) => {
    echoed = Buffer.concat([echoed, bytes]);
  });
  // GET_DOMAIN_PATH of domain 1: nothing that a client would notice.
  const echo = async (bytes = message(10, "1\0")) => {
    echoed = Buffer.alloc(0);
    probe.write(bytes);
    while (!complete()) await turn();
  };
  const request = async (/** @type {number} */ type, /** @type {string} */ text) => {
    socket.write(message(type, text));
    for (let i = 0; i < 3; i++) await echo();
    received = Buffer.alloc(0);
  };
  for (const domid of [1, 2, 3]) await request(8, `${domid}\0${0x100 + domid}\0${domid}\0`);
  /** @type {import("./scenario.mjs").World} */
  const world = {
    page: (domid) => /** @type {ReturnType<typeof filePage>} */ (pages[domid]),
    kick: () => {},
    send: (bytes) => socket.write(bytes),
    take: () => {
      const bytes = received;
      received = Buffer.alloc(0);
      return bytes;
    },
    settle: async () => {
      // Its loop looks at every client once a turn; an answer takes two.
      await echo();
      await echo();
    },
    memory: async (domid) => {
      await echo(message(0, `quota\0${domid}\0`));
      return Number(/memory *: *(\d+)/.exec(echoed.toString("latin1"))?.[1]);
    },
    patience: 40,
  };
  const stop = async () => {
    const ended = new Promise((resolve) => child.once("exit", resolve));
    socket.destroy();
    probe.destroy();
    child.kill("SIGKILL");
    await ended;
    for (const page of pages) page.close();
    rmSync(folder, { recursive: true });
  };
  return { world, stop };
}
