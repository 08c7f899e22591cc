import { spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";

const tool = new URL("newer-deb", import.meta.url).pathname;

/**
 * An apt-get that notes its arguments, names a mirror once `update` has been successful, and fails as
 * often as the files `updates` and `downloads` say.
 */
const APT_GET = `#!/bin/bash
cd "$(dirname "$0")"
echo "$*" >>calls
lists=$(tr ' ' '\\n' <<<"$*" | sed -n 's/^Dir::State::lists=//p')
fail() { local n; n=$(cat "$1"); [ "$n" -gt 0 ] && echo $((n - 1)) >"$1"; }
case " $* " in
  *" indextargets "*)
    if [ -e machine ] || [ -n "$lists" ]; then echo "Debian|Debian|http://debian.example/debian/"; fi ;;
  *" update "*) fail updates && exit 100; touch "$lists/x_Packages" ;;
  *" download "*) fail downloads && exit 100; touch "$OLDPWD/a_1_amd64.deb" ;;
esac
exit 0
`;

/** What newer-deb does with such an apt-get. */
function play(given: { updates?: number; downloads?: number; machine?: boolean; old?: boolean }) {
  const folder = mkdtempSync(join(tmpdir(), "kvm-xen-newer-deb-"));
  try {
    const file = (name: string, text: string) => writeFileSync(join(folder, name), text);
    file("apt-get", APT_GET);
    chmodSync(join(folder, "apt-get"), 0o755);
    file("updates", String(given.updates ?? 0));
    file("downloads", String(given.downloads ?? 0));
    if (given.machine ?? true) file("machine", "");
    const lists = join(folder, "trixie/lists");
    mkdirSync(lists, { recursive: true });
    if (given.old) {
      file("trixie/lists/x_Packages", "");
      spawnSync("touch", ["-d", "3 days ago", join(lists, "x_Packages")]);
    }
    mkdirSync(join(folder, "here"));
    const { status, stderr } = spawnSync(tool, ["a"], {
      cwd: join(folder, "here"),
      encoding: "utf8",
      env: {
        PATH: `${folder}:${process.env["PATH"]}`,
        NEWER_DEB_CACHE: folder,
        NEWER_DEB_WAITS: "0 0",
      },
    });
    const calls = readFileSync(join(folder, "calls"), "utf8").trim().split("\n");
    const verbs = calls.map((call) => /indextargets|update|download/.exec(call)?.[0]);
    return { status, stderr, calls, verbs };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

describe("newer-deb", () => {
  it("never looks at what is installed", () => {
    const { status, calls } = play({});
    expect(status).toBe(0);
    const own = calls.filter((call) => /update|download/.test(call));
    expect(own.length).toBe(2);
    for (const call of own) expect(call).toContain("-o Dir::State::status=/dev/null");
  });

  it("asks again when the mirror's lists do not fit together", () => {
    const { status, verbs, stderr } = play({ updates: 2 });
    expect(verbs).toEqual(["indextargets", "update", "update", "update", "download"]);
    expect(stderr.match(/update failed/g)).toHaveLength(2);
    expect(status).toBe(0);
  });

  it("goes on with old lists, and gives up without any", () => {
    const { status, verbs, stderr } = play({ updates: 9, old: true });
    expect(verbs.at(-1)).toBe("download");
    expect(stderr).toMatch(/going on with the lists that are there/);
    expect(status).toBe(0);
    expect(play({ updates: 9 })).toMatchObject({ status: 1 });
  });

  it("fetches new lists when the mirror no longer has what the old ones name", () => {
    const { status, verbs } = play({ downloads: 1 });
    expect(verbs).toEqual(["indextargets", "update", "download", "update", "download"]);
    expect(status).toBe(0);
    expect(play({ downloads: 2 }).status).not.toBe(0);
  });

  it("finds the mirror where nobody has fetched the machine's lists", () => {
    const { status, verbs } = play({ machine: false });
    expect(verbs).toEqual(["indextargets", "update", "indextargets", "update", "download"]);
    expect(status).toBe(0);
  });
});
