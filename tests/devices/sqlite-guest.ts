/** Debian's sqlite3 in a guest of busybox, which commits until it is stopped. */
import { existsSync, readFileSync } from "node:fs";
import { dirname } from "node:path";
import { expect } from "vitest";
import type { CpioEntry } from "../../src/hosts/node/cpio.js";
import type { KernelName } from "../boot/support/guests.js";
import { initramfs, type Kernel } from "../monitors/support/guest.js";
import { kernel } from "../monitors/support/packages.js";
import { host } from "./support.js";

/** A program of this machine with its libraries, as files of a guest. */
function withLibraries(program: string): CpioEntry[] {
  const { text } = host("ldd", program);
  const libraries = [...text.matchAll(/(\/\S+) \(0x/g)].map(([, path = ""]) => path);
  const files = [program, ...libraries];
  const folders = new Set<string>();
  for (const file of files) {
    for (let at = dirname(file); at !== "/"; at = dirname(at)) folders.add(at);
  }
  return [
    ...[...folders].sort().map((path): CpioEntry => ({ kind: "folder", path: path.slice(1) })),
    ...files.map((path): CpioEntry => {
      return { kind: "file", path: path.slice(1), mode: 0o755, data: readFileSync(path) };
    }),
  ].filter(({ path }) => path !== "lib" && path !== "bin");
}

/** Says `E commit N.` when commit N is durable. Others write meanwhile, and sync nothing. */
const SCRIPT = `
load xen-blkfront
say waits
wait_for /dev/xvda && mount -t ext4 /dev/xvda /mnt || say failed mount
cd /mnt
pragmas='PRAGMA synchronous=extra; PRAGMA journal_mode=delete;'
sqlite() { /usr/bin/sqlite3 -cmd "$pragmas" /mnt/db; }
n=$(echo 'CREATE TABLE IF NOT EXISTS t (n INTEGER PRIMARY KEY, s TEXT); SELECT ifnull(max(n), 0) + 1 FROM t;' | sqlite | tail -n 1)
say first $n
# What nobody syncs is written soon, not after half a minute.
echo 2 >/proc/sys/vm/dirty_writeback_centisecs
echo 1 >/proc/sys/vm/dirty_expire_centisecs
(i=0; while [ -e /mnt/db ]; do dd if=/dev/urandom of=/mnt/noise$((i % 5)) bs=4096 count=$((i % 60)) 2>/dev/null; i=$((i + 1)); done) &
while :; do
  echo "INSERT INTO t VALUES ($n, hex(randomblob($((n * 377 % 3000 + 1))))); SELECT 'E commit ' || $n || '.';"
  n=$((n + 1))
done | sqlite
say failed sqlite
`;

/** A kernel, and an initial RAM disk for it that writes to xvda. */
export async function sqliteGuest(
  folder: string,
  name: KernelName,
): Promise<Kernel & { readonly initrd: string }> {
  const tree = await kernel(name);
  const more = withLibraries("/usr/bin/sqlite3");
  const content = { script: SCRIPT, modules: ["xen-blkfront"], more };
  return { ...tree, initrd: await initramfs(folder, tree, content) };
}

/** How many commits are told of in a text, from the first on. */
export const toldIn = (text: string): number =>
  Number([...text.matchAll(/E commit (\d+)\./g)].at(-1)?.[1] ?? 0);

/**
 * Looks at an image after the machine has gone: its file system is whole once its journal was replayed, and the database
 * has every commit that was told of, and none half.
 * @param folder for files
 * @param told commits
 * @returns commits that are there
 */
export function checkImage(folder: string, image: string, told: number): number {
  const preened = host("e2fsck", "-p", image);
  // 1: the journal was replayed, or something unfinished was cleaned away, without a question.
  expect([0, 1], preened.text).toContain(preened.status);
  expect(host("e2fsck", "-fn", image)).toMatchObject({ status: 0 });
  const dumped = ["db", "db-journal"].map((name) => `${folder}/${name}`);
  host("rm", "-f", ...dumped);
  for (const path of dumped)
    host("debugfs", "-R", `dump /${path.split("/").at(-1)} ${path}`, image);
  const [database = ""] = dumped;
  if (told === 0 && !existsSync(database)) return 0;
  const query = "PRAGMA integrity_check; SELECT count(*), ifnull(max(n), 0) FROM t;";
  const { text } = host("sqlite3", database, query);
  // The database begins empty.
  if (told > 0 || !text.includes("no such table")) expect(text).toMatch(/^ok\n(\d+)\|\1\n$/);
  const there = Number(/\|(\d+)/.exec(text)?.[1] ?? 0);
  expect(there).toBeGreaterThanOrEqual(told);
  return there;
}
