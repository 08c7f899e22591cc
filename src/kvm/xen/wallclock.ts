import type { ErrnoName } from "../../base/index.js";
import { PAGE_SIZE } from "../../base/index.js";
import type { Domain } from "./domain.js";

/**
 * Writes the wallclock into shared_info, at its place in the current mode: real time at kvmclock
 * zero. The version is odd while it changes. The page is not marked dirty.
 * @returns why it could not be written, or undefined.
 */
export function writeWallclock(domain: Domain): ErrnoName | undefined {
  const cache = domain.sharedInfo;
  const { clock } = domain.host;
  // The kernel divides it as u64: a kvmclock ahead of real time gives a moment far in the future.
  const epoch = BigInt.asUintN(64, clock.wallEpochNs());
  if (!cache.check(PAGE_SIZE)) {
    const failed = cache.refresh(PAGE_SIZE);
    if (failed !== undefined) return failed;
  }
  const { view, layout } = domain;
  const at = cache.hva + layout.wcVersion;
  const version = ((view.getUint32(at, true) + 1) | 1) >>> 0;
  const seconds = epoch / 1_000_000_000n;
  view.setUint32(at, version, true);
  view.setUint32(cache.hva + layout.wcNsec, Number(epoch % 1_000_000_000n), true);
  view.setUint32(cache.hva + layout.wcSec, Number(seconds & 0xffffffffn), true);
  view.setUint32(cache.hva + layout.wcSecHi, Number((seconds >> 32n) & 0xffffffffn), true);
  view.setUint32(at, (version + 1) >>> 0, true);
  cache.noteWrite(0, PAGE_SIZE);
  domain.host.requestMasterclockUpdate();
  return undefined;
}
