/** A bootable disk image of a Debian release: a GPT with one ext4, made by mmdebstrap, sfdisk and mke2fs. */
import { randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { open, rename, rm } from "node:fs/promises";
import { HostError } from "../../../base/index.js";
import type { Progress } from "../debian-guest.js";
import { SBIN_PATH } from "../folder-disk.js";
import { areInstalled, type RunOptions, type RunProgram, runProgram } from "../subprocess.js";
import type { ImageSources } from "./sources.js";

/** What an image is made of. */
export interface DebianImage {
  /** Packages beside those that make a system. */
  readonly include: readonly string[];
  /** Its size. */
  readonly bytes: number;
  /** Where it is to be. */
  readonly output: string;
  /** A line of `authorized_keys`, by which root may log in through ssh. */
  readonly sshKey?: string;
  readonly sources: ImageSources;
  /** Folder with the scripts of this package that make it (guest/image). */
  readonly scripts: string;
  readonly progress: Progress;
  readonly run?: RunProgram;
  /** Whether a program is installed: what this machine has, or a test's word. */
  readonly has?: (program: string) => boolean;
  /** Gives up. */
  readonly signal?: AbortSignal;
  /** Whether this process is root; otherwise a user namespace has one. */
  readonly isRoot?: boolean;
}

/** A system that one logs in to and that installs more. */
const PACKAGES = [
  ...["systemd-sysv", "udev", "dbus", "systemd-resolved", "iproute2", "iputils-ping"],
  ...["initramfs-tools", "zstd", "linux-image-cloud-amd64"],
  // update-grub, which kernels call when they are installed; no boot loader is put on the disk.
  "grub2-common",
];
const TOOLS: Readonly<Record<string, string>> = {
  mmdebstrap: "mmdebstrap",
  sfdisk: "fdisk",
  mke2fs: "e2fsprogs",
};
/** What ordinary users need besides. */
const USER_TOOLS: Readonly<Record<string, string>> = { newuidmap: "uidmap" };
const MIB = 1 << 20;
/** A system of nothing else than {@link PACKAGES} takes 400 MB; it has to have room to work. */
const LEAST = 512 * MIB;
/** An ext4 of this program, and what a guest can address. @limit user | size of an image | bytes | IMAGE_SIZE, status 1 */
const MAX_IMAGE = 2 ** 40;

/**
 * Makes the image; needs neither root nor a mount that others see. Until all is done there is no file of that name.
 * @throws HostError TOOL_MISSING without a program that is needed; IMAGE_EXISTS when there is a file; IMAGE_SIZE;
 * IMAGE_FAILED with what went wrong.
 */
export async function makeDebianImage(wanted: DebianImage): Promise<void> {
  const { bytes, output, progress, isRoot = process.getuid?.() === 0 } = wanted;
  if (existsSync(output)) {
    throw new HostError("IMAGE_EXISTS", `${output} exists: remove it first, or give another name`);
  }
  if (bytes < LEAST || bytes > MAX_IMAGE || bytes % MIB !== 0) {
    const message = "an image has 512M to 1T, in whole MiB";
    throw new HostError("IMAGE_SIZE", message);
  }
  const { has = (name) => areInstalled([name], SBIN_PATH) } = wanted;
  checkTools(isRoot ? TOOLS : { ...TOOLS, ...USER_TOOLS }, has);
  const maker = new Maker(wanted, isRoot);
  try {
    await maker.make();
  } finally {
    await maker.clean();
    progress.end();
  }
}

function checkTools(
  tools: Readonly<Record<string, string>>,
  has: (program: string) => boolean,
): void {
  const missing = Object.keys(tools).filter((name) => !has(name));
  if (missing.length === 0) return;
  const names = missing.map((name) => `${name} (package ${tools[name]})`).join(", ");
  const message = `an image needs ${names}, which this system does not have: install it`;
  throw new HostError("TOOL_MISSING", message);
}

class Maker {
  readonly #wanted: DebianImage;
  readonly #isRoot: boolean;
  readonly #uuid = randomUUID();
  readonly #unfinished: string;
  #signal: AbortSignal | undefined;
  /** The folder in which all is made; only root can look into it, here or in the namespace. */
  #work: string | undefined;

  constructor(wanted: DebianImage, isRoot: boolean) {
    this.#wanted = wanted;
    this.#isRoot = isRoot;
    this.#signal = wanted.signal;
    this.#unfinished = `${wanted.output}.unfinished-${process.pid}`;
  }

  async make(): Promise<void> {
    const { output, progress, bytes, scripts } = this.#wanted;
    // Where it cannot be written, that is said now.
    const file = await open(this.#unfinished, "wx", 0o644);
    try {
      this.#work = (await this.#asRoot("mktemp", ["-d", "-t", "kvm-xen-image-XXXXXXXX"])).trim();
      await this.#install(this.#work);
      progress.step("making the file system");
      await this.#asRoot("sh", [`${scripts}/disk.sh`, this.#work, `${bytes / 1024}`]);
      progress.step("copying the image");
      const copy = [`if=${this.#work}/disk`, "bs=64k", "conv=sparse,notrunc", "status=none"];
      await this.#asRoot("dd", copy, { output: file.fd });
      await file.truncate(bytes);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(this.#unfinished, output);
  }

  async clean(): Promise<void> {
    await rm(this.#unfinished, { force: true });
    // Who gave up has given up what came before.
    this.#signal = undefined;
    if (this.#work !== undefined) await this.#asRoot("rm", ["-rf", this.#work]);
  }

  async #install(work: string): Promise<void> {
    const { sources, include, scripts, progress, sshKey = "" } = this.#wanted;
    const what = `installing Debian ${sources.suite}`;
    progress.step(what);
    const ssh = sshKey === "" ? [] : ["openssh-server"];
    const env = {
      KVM_XEN_SSH_KEY: sshKey,
      KVM_XEN_SOURCES: sources.inGuest.join("\n"),
      KVM_XEN_PROXY: sources.proxyInGuest ?? "",
      ...(sources.proxy === undefined ? {} : { http_proxy: sources.proxy }),
    };
    const args = [
      ...["--mode=root", "--variant=minbase", "--format=directory"],
      `--include=${[...PACKAGES, ...ssh, ...include].join(",")}`,
      ...[`--essential-hook=${scripts}/before-packages.sh`],
      ...[`--customize-hook=${scripts}/after-packages.sh`],
      ...[sources.suite, `${work}/tree`, ...sources.here],
    ];
    // "I: downloading packages with apt..." and the like.
    const onErrorLine = (line: string) => {
      const [, step] = /^I: (.+?)\.\.\.$/.exec(line) ?? [];
      if (step !== undefined) progress.step(`${what}: ${step}`);
    };
    await this.#asRoot("mmdebstrap", args, { env, onErrorLine });
  }

  #asRoot(name: string, args: readonly string[], options: RunOptions = {}): Promise<string> {
    if (this.#isRoot) return this.#program(name, args, options);
    return this.#program("mmdebstrap", ["--unshare-helper", name, ...args], options);
  }

  async #program(name: string, args: readonly string[], options: RunOptions): Promise<string> {
    const { run = runProgram, bytes } = this.#wanted;
    const signal = this.#signal;
    const env = { PATH: SBIN_PATH, KVM_XEN_UUID: this.#uuid, ...options.env };
    try {
      return await run(name, args, { ...options, env, ...(signal ? { signal } : {}) });
    } catch (cause) {
      if (!(cause instanceof HostError)) throw cause;
      if (signal?.aborted) throw new HostError("STOPPED", "the image is not made", { cause });
      const isFull = /Could not allocate block|No space left on device.*populating/.test(
        cause.message,
      );
      if (isFull) {
        const message = `what is to be installed does not fit into ${bytes / MIB} MiB`;
        throw new HostError("IMAGE_SIZE", message, { cause });
      }
      throw new HostError("IMAGE_FAILED", `the image cannot be made: ${cause.message}`, { cause });
    }
  }
}
