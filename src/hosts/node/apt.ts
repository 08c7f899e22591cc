import { mkdir, readdir } from "node:fs/promises";
import { join } from "node:path";
import { HostError } from "../../base/index.js";
import { areInstalled, type RunProgram, runProgram } from "./subprocess.js";

/**
 * Debian packages without root and without installing anything: apt's own download command, with
 * the machine's mirrors. When the machine's package lists are missing, stale or for another
 * architecture, lists of our own are fetched into a private folder. What is installed on the machine
 * plays no part: apt would choose an installed version that no list names any more.
 */

/** A package that can be downloaded. */
export interface AptPackage {
  readonly name: string;
  readonly version: string;
  /** Bytes of the package file. */
  readonly bytes: number;
}

/** A part of an archive that apt is configured with. */
export interface AptArchive {
  readonly uri: string;
  /** Such as `bookworm` or `bookworm-security`. */
  readonly codename: string;
  /** Who it is of, such as `Debian`. */
  readonly origin: string;
}

const ARCHITECTURE = "amd64";

/**
 * Pauses before lists are fetched once more, in milliseconds: a mirror that is being brought up to date has
 * lists that do not match for some seconds.
 */
const PAUSES = [3000, 10_000];

/** Waits for so many milliseconds: a real pause, or a test's. */
export type Pause = (milliseconds: number) => Promise<unknown>;

const realPause: Pause = (milliseconds) =>
  new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Downloads packages for amd64; `privateFolder` is used only when the machine's lists are no good. */
export class Apt {
  readonly #run: RunProgram;
  readonly #privateFolder: string;
  readonly #pause: Pause;
  #options: readonly string[];

  constructor(privateFolder: string, run: RunProgram = runProgram, pause: Pause = realPause) {
    this.#run = run;
    this.#privateFolder = privateFolder;
    this.#pause = pause;
    this.#options = [
      // The other user that apt drops its rights to cannot write to our folders.
      ...["-o", "APT::Sandbox::User=root", "-o", `APT::Architecture=${ARCHITECTURE}`],
      ...["-o", "Dir::State::status=/dev/null"],
    ];
  }

  /** Whether this machine has the programs that are needed. */
  static isPresent(env: NodeJS.ProcessEnv = process.env): boolean {
    return areInstalled(["apt-get", "apt-cache", "dpkg-deb"], env["PATH"]);
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

  /** The archives of the machine's package lists that have a component `main`. */
  async archives(): Promise<AptArchive[]> {
    const format = "$(REPO_URI) $(CODENAME) $(COMPONENT) $(ORIGIN)";
    const args = ["indextargets", "--format", format, "Created-By: Packages"];
    const text = await this.#run("apt-get", [...this.#options, ...args]);
    const rows = text.split("\n").map((line) => line.split(" "));
    return rows.flatMap(([uri, codename, component, ...origin]) =>
      uri && codename && component === "main" ? [{ uri, codename, origin: origin.join(" ") }] : [],
    );
  }

  /** The proxy that apt is told to use for http; undefined without one. */
  async proxy(): Promise<string | undefined> {
    const text = await this.#run("apt-config", [
      "dump",
      "--format",
      "%f %v%n",
      "Acquire::http::Proxy",
    ]);
    const [, url] = /^Acquire::http::Proxy (\S+)$/m.exec(text) ?? [];
    return url === "DIRECT" ? undefined : (url ?? process.env["http_proxy"]);
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

  /**
   * From now on uses package lists of its own, which it fetches: the machine's stay as they are.
   * @returns why not all of them could be fetched, after several tries; those that could are used.
   */
  async useOwnLists(): Promise<HostError | undefined> {
    const lists = join(this.#privateFolder, "lists");
    const cache = join(this.#privateFolder, "cache");
    await mkdir(join(lists, "partial"), { recursive: true });
    await mkdir(join(cache, "archives", "partial"), { recursive: true });
    this.#options = [
      ...this.#options,
      ...["-o", `APT::Architectures::=${ARCHITECTURE}`],
      ...["-o", `Dir::State::lists=${lists}`, "-o", `Dir::Cache=${cache}`],
      // Otherwise a list that cannot be fetched is a warning.
      ...["-o", "APT::Update::Error-Mode=any"],
    ];
    return this.#update(PAUSES);
  }

  async #update(pauses: readonly number[]): Promise<HostError | undefined> {
    try {
      await this.#run("apt-get", [...this.#options, "update", "-qq"]);
      return undefined;
    } catch (failure) {
      if (!(failure instanceof HostError)) throw failure;
      const [next, ...rest] = pauses;
      if (next === undefined) return failure;
      await this.#pause(next);
      return this.#update(rest);
    }
  }
}
