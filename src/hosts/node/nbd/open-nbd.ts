/** Disks of NBD servers: by their address, or of a `qemu-nbd` that is started for an image. */
import { spawn } from "node:child_process";
import { rmSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { connect, type NetConnectOpts, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { extname, join, resolve } from "node:path";
import { HostError } from "../../../base/index.js";
import type { Disk } from "../../../ports/index.js";
import { NbdDisk } from "./nbd-disk.js";

const refuse = (what: string, why: string, cause?: unknown): HostError =>
  new HostError("DISK_UNUSABLE", `disk ${what}: ${why}`, cause === undefined ? {} : { cause });

/** Whether a disk is named by the address of an NBD server. */
export const isNbdAddress = (text: string): boolean => /^nbd(\+unix)?:\/\//.test(text);

/**
 * Opens `nbd+unix:///EXPORT?socket=PATH` or `nbd://HOST[:PORT]/EXPORT` (the NBD protocol's `doc/uri.md`); an export
 * without a name is the server's default.
 * @throws HostError DISK_UNUSABLE when it cannot be.
 */
export async function openNbd(address: string, readonly: boolean): Promise<Disk> {
  const { target, name } = readAddress(address);
  return NbdDisk.open(await connected(target, address), { name, what: address, readonly });
}

function readAddress(address: string): { target: NetConnectOpts; name: string } {
  const url = URL.canParse(address) ? new URL(address) : undefined;
  if (url === undefined) throw refuse(address, "that is no address");
  if (url.protocol === "nbd:" && url.hostname === "") throw refuse(address, "it names no host");
  let name: string;
  try {
    name = decodeURIComponent(url.pathname.replace(/^\//, ""));
  } catch (cause) {
    throw refuse(address, "the export's name is no text: a '%' is written %25", cause);
  }
  if (url.protocol === "nbd:") {
    // IPv6 has brackets in addresses of this form only.
    const host = url.hostname.replace(/^\[(.*)\]$/, "$1");
    return { target: { host, port: Number(url.port || 10_809) }, name };
  }
  const path = url.searchParams.get("socket");
  if (!path) throw refuse(address, "nbd+unix:///EXPORT?socket=PATH names no socket");
  return { target: { path }, name };
}

const troubles: Readonly<Record<string, string>> = {
  ENOENT: "there is no such socket",
  ECONNREFUSED: "nobody listens there",
  EACCES: "no permission to connect to it",
};

function connected(target: NetConnectOpts, what: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    let socket: Socket;
    try {
      socket = connect(target);
    } catch (cause) {
      // A port or a path that cannot be one.
      reject(refuse(what, (cause as Error).message, cause));
      return;
    }
    const fail = ({ code, message }: NodeJS.ErrnoException): void =>
      reject(refuse(what, troubles[code ?? ""] ?? message));
    socket.once("error", fail);
    socket.once("connect", () => {
      socket.off("error", fail);
      resolve(socket);
    });
  });
}

/** QEMU's names of formats, by the ends of files' names. Of others, the bytes of the file are the disk's. */
const formats: Readonly<Record<string, string>> = {
  ".qcow2": "qcow2",
  ".qcow": "qcow",
  ".qed": "qed",
  ".vdi": "vdi",
  ".vhd": "vpc",
  ".vhdx": "vhdx",
  ".vmdk": "vmdk",
};

/** The format that a file's name tells; undefined for raw bytes. */
export const formatOf = (path: string): string | undefined => formats[extname(path).toLowerCase()];

/** Milliseconds between two looks for the socket of a server that starts. */
const POLL_MS = 20;

/**
 * Opens an image of another format than raw bytes through `qemu-nbd`, which ends with the disk.
 * @throws HostError TOOL_MISSING without qemu-nbd; DISK_UNUSABLE when it refuses.
 */
export async function openWithQemuNbd(
  path: string,
  format: string,
  readonly: boolean,
): Promise<Disk> {
  const folder = await mkdtemp(join(tmpdir(), "kvm-xen-nbd-"));
  const socket = join(folder, "socket");
  const image = resolve(path);
  const args = [
    ...["--socket", socket, "--format", format, "--shared", "1", "--discard", "unmap"],
    ...["--cache", "writeback", ...(readonly ? ["--read-only"] : []), image],
  ];
  // It is no part of the terminal's group: what a guest wrote last still goes through it then.
  const server = spawn("qemu-nbd", args, { stdio: ["ignore", "ignore", "pipe"], detached: true });
  let complaint = "";
  server.stderr.setEncoding("utf8").on("data", (text: string) => {
    complaint = (complaint + text).slice(-4000);
  });
  let ended: HostError | undefined;
  const over = new Promise<void>((done) => {
    server.on("error", (cause: NodeJS.ErrnoException) => {
      const missing = cause.code === "ENOENT";
      const why = `disk ${path}: ${format} images need qemu-nbd (package qemu-utils), which is not installed`;
      ended = missing ? new HostError("TOOL_MISSING", why) : refuse(path, cause.message, cause);
      done();
    });
    server.on("close", () => {
      const line = complaint
        .trim()
        .split("\n")[0]
        ?.replace(/^qemu-nbd: /, "");
      ended ??= refuse(path, line || "qemu-nbd has ended");
      done();
    });
  });
  const listening = async (): Promise<Socket> => {
    for (;;) {
      const connection = await connected({ path: socket }, path).catch(() => undefined);
      if (connection !== undefined) return connection;
      await Promise.race([over, new Promise((next) => setTimeout(next, POLL_MS))]);
      if (ended !== undefined) throw ended;
    }
  };
  // With a client it ends by itself, whatever becomes of this process; until then nobody else would end it.
  const giveUp = (): void => {
    server.kill();
    rmSync(folder, { recursive: true, force: true });
  };
  process.once("exit", giveUp);
  try {
    const connection = await listening();
    const options = { name: "", what: path, readonly, afterClose: () => over };
    return await NbdDisk.open(connection, options);
  } catch (refusal) {
    server.kill();
    await over;
    throw ended ?? refusal;
  } finally {
    process.off("exit", giveUp);
    // Nobody else connects.
    await rm(folder, { recursive: true, force: true });
  }
}
