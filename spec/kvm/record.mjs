// @ts-check
/**
 * Asks the real kernel anew: node spec/kvm/record.mjs [answers] [attributes] [quirks] [guest-cpuid] [releases RELEASE]
 *
 * Writes recorded.txt, attributes.out, quirks.out, differences.out and guest-cpuid.out from what Linux answers (tests/oracle/ask-linux);
 * each is asked twice and has to be the same. `answers` needs the headers of Linux 6.12: the tests of
 * tests/headers leave them in build/cache.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { ATTRIBUTES, rowScenario } from "./attributes.mjs";
import { GUEST_CPUID, guestCpuidName, guestCpuidScenario } from "./guest-cpuid.mjs";
import { QUIRKS, quirkScenario } from "./quirks.mjs";
import { RELEASES } from "./releases.mjs";
import { SHOWN, shownScenario } from "./shown.mjs";

const root = fileURLToPath(new URL("../../", import.meta.url));
const spec = (/** @type {string} */ name) => join(root, "spec/kvm", name);
const headers = join(root, "build/cache/headers-trixie/linux-libc-dev/usr/include");
const folder = mkdtempSync(join(tmpdir(), "kvm-xen-record-"));

/** @param {string} source */
function compile(source) {
  const program = join(folder, "program");
  const includes = [headers, join(headers, "x86_64-linux-gnu")].flatMap((at) => ["-isystem", at]);
  execFileSync("gcc", ["-O1", "-w", "-static", ...includes, "-o", program, source]);
  return program;
}

/** @param {string} program @param {string[]} files */
function ask(program, files) {
  const run = () =>
    execFileSync(join(root, "tests/oracle/ask-linux"), [program, ...files], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "inherit"],
    });
  const first = run();
  if (run() !== first) throw new Error("Linux gave two different answers");
  return `${first.trimEnd()}\n`;
}

/** @param {string} name @param {[title: string, scenario: string][]} parts */
function recordScenarios(name, parts) {
  const files = parts.map(([, text], i) => {
    const file = join(folder, name, `${String(i).padStart(3, "0")}.scn`);
    mkdirSync(join(folder, name), { recursive: true });
    writeFileSync(file, text);
    return file;
  });
  let part = 0;
  const answers = ask(compile(join(root, "tests/oracle/probe.c")), files);
  writeFileSync(
    spec(`${name}.out`),
    answers.replaceAll(/^== .*$/gm, () => `== ${parts[part++]?.[0]}`),
  );
}

/** @type {Record<string, () => void>} */
const parts = {
  answers: () => writeFileSync(spec("recorded.txt"), ask(compile(spec("record.c")), [])),
  attributes: () =>
    recordScenarios(
      "attributes",
      ATTRIBUTES.map((row) => [`${row.of} ${row.name}`, rowScenario(row)]),
    ),
  quirks: () =>
    recordScenarios(
      "quirks",
      QUIRKS.map((quirk) => [quirk.title, quirkScenario(quirk)]),
    ),
  differences: () =>
    recordScenarios(
      "differences",
      SHOWN.map((shown) => [shown.what, shownScenario(shown)]),
    ),
  // The processor has UMIP and no MOVBE, so that KVM's rules for both show.
  "guest-cpuid": () => {
    process.env["CPU"] = "EPYC,+umip,-movbe";
    const rows = GUEST_CPUID.flatMap((part) => part.rows).filter((row) => row.read === undefined);
    recordScenarios(
      "guest-cpuid",
      rows.map((row) => [guestCpuidName(row), guestCpuidScenario(row)]),
    );
    delete process.env["CPU"];
  },
  // Of the kernel in ASK_LINUX_CACHE: the release is the word behind it.
  releases: () =>
    recordScenarios(
      `releases-${process.argv.at(-1)}`,
      RELEASES.flatMap(({ title, steps }) =>
        steps === undefined ? [] : [[title, quirkScenario({ title, steps })]],
      ),
    ),
};
try {
  const wanted = process.argv.slice(2);
  const all = ["answers", "attributes", "quirks", "differences", "guest-cpuid"];
  for (const name of wanted.length > 0 ? wanted : all) parts[name]?.();
} finally {
  rmSync(folder, { recursive: true });
}
