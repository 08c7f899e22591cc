/** Where an image's packages come from, as this machine reaches it and as a guest with `--net user` does. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { HostError } from "../../../base/index.js";
import { Apt, type AptArchive } from "../apt.js";
import { type RunProgram, runProgram } from "../subprocess.js";

/** Lines of sources.list and a proxy. */
export interface ImageSources {
  /** Codename of the release. */
  readonly suite: string;
  readonly here: readonly string[];
  readonly inGuest: readonly string[];
  /** URL of the proxy for http. */
  readonly proxy?: string;
  readonly proxyInGuest?: string;
  /** Whether a guest needs `hostloopback=on` to reach them. */
  readonly isOnLoopback: boolean;
}

/** Where `--net user` has the host's loopback interface, for the first card. */
const GATEWAY = "10.0.2.2";

/**
 * The archives of Debian that this machine's apt is configured with, and its proxy.
 * @param suite codename of a release; without one, this machine's own.
 * @throws HostError NO_PACKAGE when apt knows no archive of Debian.
 */
export async function imageSources(
  suite: string | undefined,
  run: RunProgram = runProgram,
): Promise<ImageSources> {
  const folder = await mkdtemp(join(tmpdir(), "kvm-xen-apt-"));
  try {
    const apt = new Apt(folder, run);
    const found = (await debianArchives(apt)) ?? [];
    const proxy = await apt.proxy();
    return sourcesFrom(found, suite, proxy);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function debianArchives(apt: Apt): Promise<AptArchive[]> {
  const isDebian = ({ origin }: AptArchive) => origin === "Debian";
  const known = (await apt.archives()).filter(isDebian);
  if (known.length > 0) return known;
  // A machine without package lists does not say what its archives are.
  await apt.useOwnLists();
  return (await apt.archives()).filter(isDebian);
}

/** {@link imageSources} of archives and a proxy. */
export function sourcesFrom(
  archives: readonly AptArchive[],
  wanted: string | undefined,
  proxy: string | undefined,
): ImageSources {
  const own = archives.find(({ codename }) => !codename.includes("-"))?.codename;
  if (own === undefined) {
    throw new HostError("NO_PACKAGE", "this machine's apt knows no archive of Debian");
  }
  const suite = wanted ?? own;
  // Unstable has neither security updates nor others: what is new is in it.
  const isRolling = suite === "sid" || suite === "unstable";
  const rows = archives.flatMap(({ uri, codename }) => {
    const [release, ...parts] = codename.split("-");
    const isOfOwn = release === own && parts[0] !== "backports";
    if (!isOfOwn || (isRolling && parts.length > 0)) return [];
    return [{ uri, name: [suite, ...parts].join("-") }];
  });
  const lines = (map: (url: string) => string) => [
    ...new Set(rows.map(({ uri, name }) => `deb ${map(uri)} ${name} main`)),
  ];
  const proxyInGuest = proxy && urlInGuest(proxy);
  const [here, inGuest] = [lines((url) => url), lines(urlInGuest)];
  const isOnLoopback = proxy !== proxyInGuest || here.some((line, i) => line !== inGuest[i]);
  return {
    ...{ suite, here, inGuest, isOnLoopback },
    ...(proxy === undefined ? {} : { proxy }),
    ...(proxyInGuest === undefined ? {} : { proxyInGuest }),
  };
}

/** A URL of this machine as its guest has to write it. */
function urlInGuest(url: string): string {
  return url.replace(
    /^(\w+:\/\/(?:[^/@]*@)?)(?:localhost|127(?:\.\d+){3}|\[::1\])(?=[:/]|$)/,
    `$1${GATEWAY}`,
  );
}
