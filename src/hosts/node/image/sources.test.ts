import { describe, expect, it } from "vitest";
import type { RunProgram } from "../subprocess.js";
import { imageSources, sourcesFrom } from "./sources.js";

const at = (uri: string, codename: string, origin = "Debian") => ({ uri, codename, origin });
const machine = [
  at("http://a.example/debian/", "bookworm"),
  at("http://a.example/debian/", "bookworm-updates"),
  at("http://a.example/debian/", "bookworm-backports"),
  at("http://a.example/security/", "bookworm-security"),
  at("http://other.example/", "trixie"),
];

describe("sourcesFrom", () => {
  it("takes this machine's release with its updates, without backports and other releases", () => {
    const lines = [
      "deb http://a.example/debian/ bookworm main",
      "deb http://a.example/debian/ bookworm-updates main",
      "deb http://a.example/security/ bookworm-security main",
    ];
    expect(sourcesFrom(machine, undefined, undefined)).toEqual({
      ...{ suite: "bookworm", here: lines, inGuest: lines, isOnLoopback: false },
    });
  });

  it("asks the same archives for another release, and for nothing beside unstable", () => {
    expect(sourcesFrom(machine, "trixie", undefined).here).toEqual([
      "deb http://a.example/debian/ trixie main",
      "deb http://a.example/debian/ trixie-updates main",
      "deb http://a.example/security/ trixie-security main",
    ]);
    const rolling = sourcesFrom(machine, "sid", undefined).here;
    expect(rolling).toEqual(["deb http://a.example/debian/ sid main"]);
  });

  it.each([
    ["http://127.0.0.1:3142/", "http://10.0.2.2:3142/"],
    [`http://${"localhost"}`, "http://10.0.2.2"],
    ["http://user:word@[::1]:8/x", "http://user:word@10.0.2.2:8/x"],
    ["http://127.0.0.1.example:8/", undefined],
    [`http://${"localhost"}.example/`, undefined],
    ["http://proxy.example/127.0.0.1/", undefined],
  ])("writes %s for the guest", (url, there) => {
    const sources = sourcesFrom([at(url, "bookworm")], undefined, url);
    expect(sources).toMatchObject({
      here: [`deb ${url} bookworm main`],
      inGuest: [`deb ${there ?? url} bookworm main`],
      proxy: url,
      proxyInGuest: there ?? url,
      isOnLoopback: there !== undefined,
    });
  });
});

/** A machine whose apt says this, the second text when it has fetched lists. */
function played(known: string, fetched: string): { run: RunProgram; updates: () => number } {
  let updates = 0;
  const run: RunProgram = async (program, args) => {
    if (program === "apt-config") return "Acquire::http::Proxy http://127.0.0.1:3142\n";
    if (args.includes("update")) updates += 1;
    return updates > 0 ? fetched : known;
  };
  return { run, updates: () => updates };
}

describe("imageSources", () => {
  const debian = "http://a.example/debian/ bookworm main Debian\n";
  it("leaves out what is not of Debian, or has no component main", async () => {
    const others =
      "http://b.example/ bookworm main Example Inc\nhttp://c.example/ x stable Debian\n";
    const { run, updates } = played(others + debian, "");
    const { here, proxyInGuest } = await imageSources(undefined, run);
    expect([here, proxyInGuest, updates()]).toEqual([
      ["deb http://a.example/debian/ bookworm main"],
      "http://10.0.2.2:3142",
      0,
    ]);
  });

  it("fetches lists when there are none, and says that there is no archive of Debian", async () => {
    const { run, updates } = played("", debian);
    expect((await imageSources(undefined, run)).suite).toBe("bookworm");
    expect(updates()).toBe(1);
    const without = imageSources(undefined, played("", "").run);
    await expect(without).rejects.toMatchObject({ code: "NO_PACKAGE" });
  });
});
