import { expect, it } from "vitest";
import { runProgram } from "./subprocess.js";

const script = (text: string) => runProgram("/bin/sh", ["-c", text]);

it("gives what a program prints", async () => {
  expect(await script("echo hello; echo aside >&2")).toBe("hello\n");
});

it.each([
  ["the last line", "echo one >&2; echo two >&2; exit 3", "/bin/sh: two"],
  ["apt's first error", "echo W: a >&2; echo E: b >&2; echo E: c >&2; exit 3", "/bin/sh: E: b"],
  ["the status", "exit 3", "/bin/sh: exit status 3"],
  ["the signal", "kill -9 $$", "/bin/sh: ended by SIGKILL"],
])("says why a program failed, by %s", async (_name, text, message) => {
  await expect(script(text)).rejects.toMatchObject({ code: "PROGRAM_FAILED", message });
});

it("says that there is no such program", async () => {
  await expect(runProgram("/no/such", [])).rejects.toMatchObject({ code: "PROGRAM_MISSING" });
});
