import { existsSync } from "node:fs";
import { mkdir, readdir } from "node:fs/promises";
import { join } from "node:path";
import { HostError } from "../../base/index.js";
import { type RunProgram, runProgram } from "./subprocess.js";

/**
 * Debian packages without root and without installing anything: apt's own download command, with
 * the machine's mirrors. When the machine's package lists are missing, stale or for another
 * architecture, lists of our own are fetched into a private folder.
 */

/** A package that can be downloaded. */
export interface AptPackage {
  readonly name: string;
  readonly version: string;
  /** Bytes of the package file. */
  readonly bytes: number;
}

const ARCHITECTURE = "amd64";

/** Downloads packages for amd64; `privateFolder` is used only when the machine's lists are no good. */
export class Apt {
  readonly #run: RunProgram;
  readonly #privateFolder: string;
  #options: readonly string[];

  constructor(privateFolder: string, run: RunProgram = runProgram) {
    this.#run = run;
    this.#privateFolder = privateFolder;
    // The other user that apt drops its rights to cannot write to our folders.
    this.#options = ["-o", "APT::Sandbox::User=root", "-o", `APT::Architecture=${ARCHITECTURE}`];
  }

  /** Whether this machine has the programs that are needed. */
  static isPresent(env: NodeJS.ProcessEnv = process.env): boolean {
    const folders = (env["PATH"] ?? "").split(":");
    const has = (name: string) => folders.some((folder) => existsSync(join(folder, name)));
    return ["apt-get", "apt-cache", "dpkg-deb"].every(has);
  }

  /** The packages that `name` depends on, as a meta package points to its newest kernel. */
  async dependencies(name: string): Promise<string[]> {
    const text = await this.#run("apt-cache", [...this.#options, "depends", "--important", name]);
    return [...text.matchAll(/^ *\|?Depends: *([^<\s]\S*)$/gm)].map((match) => match[1] ?? "");
  }

  /**
   * The newest version of a package.
   * @throws HostError `NO_PACKAGE` when the lists do not have it.
   */
  async newest(name: string): Promise<AptPackage> {
    const args = [...this.#options, "show", "--no-all-versions", name];
    const text = await this.#run("apt-cache", args).catch(() => "");
    const field = (key: string) => new RegExp(`^${key}: *(.*)$`, "m").exec(text)?.[1];
    const version = field("Version");
    if (version === undefined) throw new HostError("NO_PACKAGE", `apt knows no package ${name}`);
    return { name, version, bytes: Number(field("Size") ?? 0) };
  }

  /** Downloads a package into `folder` and returns the path of its file. */
  async download(wanted: AptPackage, folder: string): Promise<string> {
    const args = [...this.#options, "download", "-q", `${wanted.name}=${wanted.version}`];
    await this.#run("apt-get", args, { cwd: folder });
    const files = await readdir(folder);
    const file = files.find((name) => name.startsWith(`${wanted.name}_`) && name.endsWith(".deb"));
    if (file === undefined) {
      throw new HostError("PROGRAM_FAILED", `apt-get downloaded no file of ${wanted.name}`);
    }
    return join(folder, file);
  }

  /** From now on uses package lists of its own, which it fetches: the machine's stay as they are. */
  async useOwnLists(): Promise<void> {
    const lists = join(this.#privateFolder, "lists");
    const cache = join(this.#privateFolder, "cache");
    await mkdir(join(lists, "partial"), { recursive: true });
    await mkdir(join(cache, "archives", "partial"), { recursive: true });
    this.#options = [
      ...this.#options,
      ...["-o", `APT::Architectures::=${ARCHITECTURE}`],
      ...["-o", `Dir::State::lists=${lists}`, "-o", `Dir::Cache=${cache}`],
    ];
    await this.#run("apt-get", [...this.#options, "update", "-qq"]);
  }
}
