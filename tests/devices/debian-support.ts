/** Debian on a disk, made by `kvm-xen image`, for tests. */
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { cacheRoot } from "../../src/hosts/node/cache.js";
import type { Cli } from "../boot/support/cli.js";
import { host } from "./support.js";

const root = new URL("../..", import.meta.url).pathname;
/** What is in it besides what every image has. */
const PACKAGES = ["fio", "gcc", "libc6-dev", "sqlite3"];
/** Packages whose versions make another image; what they depend on changes with them often enough. */
const VERSIONED = [...PACKAGES, "linux-image-cloud-amd64", "systemd", "grub2-common"];

/** The images' name: what they are made by, and of which versions. */
function imageName(): string {
  const scripts = join(root, "guest/image");
  const files = [
    ...readdirSync(scripts).map((name) => join(scripts, name)),
    join(root, "src/hosts/node/image/debian-image.ts"),
  ];
  const { text } = host("apt-cache", "policy", ...VERSIONED);
  const candidates = text.split("\n").filter((line) => /^\S|Candidate/.test(line));
  const hash = createHash("sha256").update(candidates.join("\n"));
  for (const file of files.sort()) hash.update(readFileSync(file));
  return `devices-debian-${hash.digest("hex").slice(0, 16)}`;
}

/** An image, and the key by which ssh lets in. */
export interface DebianFiles {
  readonly image: string;
  readonly key: string;
}

/**
 * Debian's image; nobody writes to it. It is made when the cache has none of these versions, by one process at a time:
 * the others wait for it.
 */
export function debianFiles(): Promise<DebianFiles> {
  const cache = cacheRoot();
  const name = imageName();
  const folder = join(cache, name);
  const files = { image: join(folder, "debian.img"), key: join(folder, "key") };
  mkdirSync(cache, { recursive: true });
  // What an earlier version was made of is of no use any more.
  const script = `set -e
    test ! -e ${files.image} || exit 0
    rm -rf ${cache}/devices-debian-*/ ${folder}
    mkdir ${folder}
    ssh-keygen -q -t ed25519 -N '' -f ${files.key}
    ${process.execPath} dist/cli/main.js image --size 3G --include ${PACKAGES.join(",")} \\
      --ssh-key ${files.key}.pub -o ${files.image} </dev/null`;
  const args = [`${folder}.lock`, "sh", "-c", script];
  return new Promise((resolve, reject) => {
    // Not spawnSync: vitest wants to hear of this process meanwhile.
    const child = spawn("flock", args, { cwd: root, stdio: ["ignore", "ignore", "pipe"] });
    let said = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      said += text;
    });
    child.on("close", (status) => {
      if (status === 0) resolve(files);
      else reject(new Error(`no image of Debian: ${said}`));
    });
  });
}

/** A copy of an image, with its holes. */
export function copyImage(from: string, to: string): string {
  const copied = host("cp", "--sparse=always", "--reflink=auto", from, to);
  if (copied.status !== 0) throw new Error(copied.text);
  return to;
}

/** Where the file system of such an image begins. */
const OFFSET = 1 << 20;
/** The image's file system, as the tools of ext4 name it. */
export const fileSystemOf = (image: string): string => `${image}?offset=${OFFSET}`;

/** What a command said, and its exit status. */
export interface Said {
  readonly status: number | null;
  readonly text: string;
}

/** ssh to root of a guest behind a port of 127.0.0.1. */
export class Ssh {
  readonly #words: readonly string[];

  constructor(port: number, key: string) {
    const options = [
      ...["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR"],
      ...["BatchMode=yes", "ConnectTimeout=60", "ServerAliveInterval=30"],
    ];
    this.#words = [
      ...options.flatMap((option) => ["-o", option]),
      ...["-i", key, "-p", `${port}`, "root@127.0.0.1"],
    ];
  }

  /** Runs a command of the guest's shell. */
  run(command: string): Promise<Said> {
    return new Promise((resolve, reject) => {
      const child = spawn("ssh", [...this.#words, command], { stdio: ["ignore", "pipe", "pipe"] });
      let text = "";
      for (const stream of [child.stdout, child.stderr]) {
        stream.setEncoding("utf8").on("data", (more: string) => {
          text += more;
        });
      }
      child.on("error", reject);
      child.on("close", (status) => resolve({ status, text: text.trim() }));
    });
  }

  /** What a command says that has to work. */
  async must(command: string): Promise<string> {
    const { status, text } = await this.run(command);
    if (status !== 0) throw new Error(`${command}: status ${status}\n${text}`);
    return text;
  }
}

/** Logs in at the console. @returns the length of the output up to its prompt. */
export async function login(cli: Cli, after = 0): Promise<number> {
  const asked = await cli.waitFor(/debian login: /, after);
  cli.type("root\n");
  return cli.waitFor(/root@debian:~# /, asked);
}

/** What the shell at the console says to a command. */
export async function atConsole(cli: Cli, command: string): Promise<string> {
  const before = cli.output.length;
  // Both marks are written in two parts: what is typed, and shown once or twice, does not look like them.
  cli.type(`echo 'BEG''IN'; ${command}; echo 'E''ND'\n`);
  const end = await cli.waitFor(/END\r?\n/, before);
  // The shell switches the terminal's bracketed paste on and off.
  const shown = cli.output.slice(before, end);
  const plain = shown.replaceAll("\x1b[?2004l\r", "").replaceAll("\x1b[?2004h", "");
  const [, said = ""] = plain.split(/BEGIN\r?\n/);
  return said
    .split(/\r?\n/)
    .join("\n")
    .replace(/\s*END\s*$/, "")
    .trim();
}
