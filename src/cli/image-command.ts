/** `kvm-xen image`: a disk image of Debian. */
import { fileURLToPath } from "node:url";
import { HostError } from "../base/index.js";
import { Apt } from "../hosts/node/apt.js";
import { readUserFile } from "../hosts/node/files.js";
import { type DebianImage, makeDebianImage } from "../hosts/node/image/debian-image.js";
import { type ImageSources, imageSources } from "../hosts/node/image/sources.js";
import { ProgressLine } from "../hosts/node/progress-line.js";
import type { Surroundings } from "./guest-run.js";
import type { StartTerminal } from "./start-command.js";

/** The options of `kvm-xen image`. */
export interface ImageOptions {
  /** Codename of a release; without one, this machine's. */
  readonly suite?: string;
  /** Packages, each perhaps several with commas between. */
  readonly include: readonly string[];
  /** Bytes. */
  readonly size: number;
  readonly output: string;
  /** A file with a public key. */
  readonly sshKey?: string;
}

/** What the command works with; tests give their own. */
export interface ImageHost extends Pick<Surroundings, "listenForSignals" | "exit"> {
  readonly error: StartTerminal;
}

/** @limit file | a file with a public key of ssh | bytes | FILE_TOO_LARGE, status 2 */
const MAX_KEY = 64 << 10;

/**
 * Makes the image; what is under way is shown on a terminal.
 * @returns the exit status.
 * @throws HostError when it cannot be made.
 */
export async function imageCommand(
  options: ImageOptions,
  host: ImageHost,
  make: (wanted: DebianImage) => Promise<void> = makeDebianImage,
  sourcesOf: (suite: string | undefined) => Promise<ImageSources> = imageSources,
  hasApt: boolean = Apt.isPresent(),
): Promise<number> {
  if (!hasApt) {
    throw new HostError(
      "NO_PACKAGE",
      "this system has no apt-get, whose archive an image comes from",
    );
  }
  const include = options.include.flatMap((list) => list.split(",")).filter((name) => name !== "");
  for (const name of include) {
    if (/^[a-z0-9][a-z0-9+.-]*$/.test(name)) continue;
    throw new HostError("USAGE", `--include: '${name}' is no name of a package`);
  }
  if (options.suite !== undefined && !/^[a-z][a-z0-9.-]*$/.test(options.suite)) {
    throw new HostError("USAGE", `--suite: '${options.suite}' is no name of a release`);
  }
  const sshKey = options.sshKey === undefined ? undefined : await publicKey(options.sshKey);
  const sources = await sourcesOf(options.suite);
  const abort = new AbortController();
  let stopped: number | undefined;
  const stopListening = host.listenForSignals({
    onTerminate: (_signal, status) => {
      stopped = status;
      abort.abort();
    },
    onImpatient: (status) => host.exit(status),
    onContinue: () => undefined,
  });
  try {
    await make({
      ...{ include, sources, bytes: options.size, output: options.output },
      ...(sshKey === undefined ? {} : { sshKey }),
      scripts: fileURLToPath(new URL("../../guest/image", import.meta.url)),
      progress: new ProgressLine(host.error),
      signal: abort.signal,
    });
  } catch (refusal) {
    // Whoever stopped it knows why there is no image.
    if (stopped !== undefined) return stopped;
    throw refusal;
  } finally {
    stopListening();
  }
  if (sources.isOnLoopback) {
    const message = "its packages come over this machine's loopback interface";
    host.error.write(`kvm-xen: ${message}: boot it with --net user,hostloopback=on\n`);
  }
  return 0;
}

async function publicKey(path: string): Promise<string> {
  const limit = { bytes: MAX_KEY, what: "64 KiB" };
  const text = new TextDecoder().decode(await readUserFile(path, "public key", limit)).trim();
  if (!/^(ssh|ecdsa|sk)-\S+ [A-Za-z0-9+/=]+/.test(text)) {
    const message = `${path} is no public key of ssh: give one such as ~/.ssh/id_ed25519.pub`;
    throw new HostError("USAGE", message);
  }
  return text;
}
