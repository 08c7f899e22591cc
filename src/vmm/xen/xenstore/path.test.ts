import { describe, expect, it } from "vitest";
import { baseName, childPath, isWithin, parentOf, parsePath, parseWatchPath } from "./path.js";

/**
 * Paths as Xen's docs/misc/xenstore.txt has them: letters, digits and `-/_@`, no empty part, no slash at the
 * end; at most 2048 bytes, /local/domain/N/ not counted (xenstored's quota "path-max").
 */
const absolute = (text: string): unknown => {
  const path = parsePath(5, text);
  return typeof path === "string" ? path : path.absolute;
};

describe("a path", () => {
  it("is absolute, or relative to the domain's own directory", () => {
    expect(parsePath(5, "/")).toEqual({ absolute: "/", relative: false });
    expect(parsePath(5, "/tool/xenstored")).toEqual({
      absolute: "/tool/xenstored",
      relative: false,
    });
    expect(parsePath(5, "device/vif/0")).toEqual({
      absolute: "/local/domain/5/device/vif/0",
      relative: true,
    });
    expect(absolute("/A-Z_a@z/0-9")).toBe("/A-Z_a@z/0-9");
  });

  it.each(["", "//", "/a/", "a/", "/a//b", "a//b"])("has no empty part: %s", (text) => {
    expect(absolute(text)).toBe("EINVAL");
  });

  it("holds no other character, at the beginning, in the middle or at the end", () => {
    for (const bad of [" ", ".", "\0", "\n", "*", "~", ":", "é"])
      for (const text of [`${bad}a`, `a${bad}a`, `a${bad}`, `/${bad}`, `/a${bad}`])
        expect([text, absolute(text)]).toEqual([text, "EINVAL"]);
  });

  it("has a limit: 2048 bytes, a domain's own folder not counted", () => {
    expect(absolute(`/${"a".repeat(2047)}`)).toBe(`/${"a".repeat(2047)}`);
    expect(absolute(`/${"a".repeat(2048)}`)).toBe("EINVAL");
    const own = `/local/domain/5/${"a".repeat(2048)}`;
    expect([absolute(own), absolute(`${own}a`)]).toEqual([own, "EINVAL"]);
    expect(absolute("a".repeat(2048))).toBe(`/local/domain/5/${"a".repeat(2048)}`);
    expect(absolute("a".repeat(2049))).toBe("EINVAL");
  });
});

describe("what may be watched", () => {
  it("are paths, and special names", () => {
    expect(parseWatchPath(5, "a")).toEqual({ absolute: "/local/domain/5/a", relative: true });
    for (const name of ["@introduceDomain", "@releaseDomain", "@other"]) {
      expect(parseWatchPath(5, name)).toEqual({ absolute: name, relative: false });
      expect(absolute(name)).toBe("EINVAL");
    }
    for (const name of ["@a.", "@a//b", `@${"a".repeat(2048)}`, "/a/"])
      expect(parseWatchPath(5, name)).toBe("EINVAL");
  });
});

describe("parents and children", () => {
  it("lead to each other", () => {
    expect([parentOf("/a"), parentOf("/a/b"), parentOf("/a/b/c")]).toEqual(["/", "/a", "/a/b"]);
    expect([baseName("/a"), baseName("/a/b")]).toEqual(["a", "b"]);
    expect([childPath("/", "a"), childPath("/a", "b")]).toEqual(["/a", "/a/b"]);
  });

  it("lie within a node by whole parts", () => {
    const within = ["/a", "/a/b", "/a/b/c"].map((path) => isWithin(path, "/a"));
    expect(within).toEqual([true, true, true]);
    expect(["/", "/ab", "/b/a", "/b"].map((path) => isWithin(path, "/a"))).toEqual(
      Array(4).fill(false),
    );
    expect(["/", "/a", "/a/b"].map((path) => isWithin(path, "/"))).toEqual([true, true, true]);
  });
});
