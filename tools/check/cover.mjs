// @ts-check
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";

const DEVICE = "/dev/kvm";
const MOUNT = `mount --bind /dev/null ${DEVICE} && exec "$@"`;

/**
 * Words to put before a command, so that it and all that it starts find /dev/null in the place of the host's
 * /dev/kvm. None where there is no such device; undefined where mounts of one's own are not allowed.
 * @returns {string[] | undefined}
 */
export function coverWords() {
  if (!existsSync(DEVICE)) return [];
  const works = (/** @type {string[]} */ words) =>
    spawnSync(words[0] ?? "", [...words.slice(1), "true"], { stdio: "ignore" }).status === 0;
  const asRoot = ["unshare", "--mount", "sh", "-c", MOUNT, "sh"];
  // The second user namespace makes the user who he was, and takes the rights away that the first one gave.
  const same = [`--map-user=${process.getuid?.()}`, `--map-group=${process.getgid?.()}`];
  const asUser = ["unshare", "--map-root-user", "--mount", "sh", "-c", MOUNT, "sh"];
  return [asRoot, [...asUser, "unshare", ...same, "--"]].find(works);
}
