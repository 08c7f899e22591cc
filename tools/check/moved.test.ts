import { expect, it } from "vitest";
import { RECORDED, SUITES } from "../../spec/kvm/releases.mjs";
import { movedReleases } from "./moved.mjs";

const recorded = (suite: string): string => {
  for (const [release, version] of Object.entries(RECORDED)) {
    if (SUITES[release as unknown as keyof typeof RECORDED] === suite) return version;
  }
  throw new Error(`no release ${suite}`);
};

it("says nothing while the recorded kernels are the newest", () => {
  expect(movedReleases(recorded)).toEqual([]);
});

it("names a release whose kernel is another one now, a later series too", () => {
  const lines = movedReleases((suite) => (suite === "forky" ? "7.3.1" : recorded(suite)));
  expect(lines).toHaveLength(1);
  expect(lines[0]).toMatch(
    /^LINUX HAS MOVED ON: forky has 7\.3\.1, .* recorded as 7\.2 is 7\.2\.\d+/,
  );
  expect(movedReleases(() => "6.12.999")).toHaveLength(2);
});

it("says what it could not look at", () => {
  const lines = movedReleases(() => {
    throw new Error("newer-deb: no mirror\nmore");
  });
  expect(lines).toHaveLength(2);
  expect(lines[0]).toMatch(/^Not looked at: .* \(newer-deb: no mirror\)$/);
});
