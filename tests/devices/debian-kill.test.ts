/** What sqlite has committed in a Debian survives SIGKILL of the monitor. */
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { machineHas } from "../../tools/check/machine.mjs";
import { Cli } from "../boot/support/cli.js";
import { workFolder } from "../boot/support/guests.js";
import {
  atConsole,
  copyImage,
  type DebianFiles,
  debianFiles,
  fileSystemOf,
} from "./debian-support.js";
import { fsck } from "./support.js";

const MINUTES = 60_000;
const canRun = machineHas("the programs that make and reach a Debian");

const folder = workFolder();
let debian: DebianFiles;
beforeAll(async () => {
  if (canRun) debian = await debianFiles();
}, 15 * MINUTES);
afterAll(() => folder.remove());

it.runIf(canRun)(
  "what sqlite has committed survives SIGKILL of the monitor",
  async () => {
    const image = copyImage(debian.image, join(folder.path, "killed.img"));
    let last = 0;
    for (let round = 0; round < 4; round++) {
      const words = ["--memory", "512M", "--append", "init=/bin/bash"];
      const cli = new Cli(["run", "--direct", "--disk", image, ...words]);
      await cli.waitFor(/root@\S+:\/# /);
      await atConsole(cli, "stty -echo; mount -o remount,rw / && mkdir -p /root && cd /root");
      const pragmas = "PRAGMA synchronous=extra; PRAGMA journal_mode=delete;";
      const found = await atConsole(
        cli,
        `sqlite3 db '${pragmas} PRAGMA integrity_check; CREATE TABLE IF NOT EXISTS t (n INTEGER PRIMARY KEY, s TEXT); SELECT count(*), ifnull(max(n), 0) FROM t;'`,
      );
      const [, , count = "-1", most = "-1"] = /(ok)\s+(\d+)\|(\d+)$/.exec(found) ?? [];
      // Without a hole; and one commit may be there that there was no time to tell of.
      expect(count, found).toBe(most);
      expect(Number(most)).toBeGreaterThanOrEqual(last);
      if (round === 3) {
        cli.type("sync; mount -o remount,ro /; echo o >/proc/sysrq-trigger\n");
        expect((await cli.ended()).status).toBe(0);
        break;
      }
      const start = cli.output.length;
      const first = Number(most) + 1;
      cli.type(
        `n=${first}; while :; do echo "INSERT INTO t VALUES ($n, hex(randomblob(500))); SELECT 'commit' || ' $n.';"; n=$((n + 1)); done | sqlite3 -cmd "${pragmas}" db\n`,
      );
      await cli.waitFor(new RegExp(`commit ${first + 3 + 5 * round}\\.`), start);
      cli.kill("SIGKILL");
      await cli.ended();
      const told = [...cli.output.slice(start).matchAll(/commit (\d+)\./g)];
      last = Number(told.at(-1)?.[1]);
      expect(last).toBeGreaterThanOrEqual(first + 3);
    }
    expect(fsck(fileSystemOf(image))).toBe("");
  },
  10 * MINUTES,
);
