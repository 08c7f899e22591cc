import { expect, it } from "vitest";
import { HostError } from "../base/index.js";
import { describeFailure } from "./exit-status.js";
import { hostTrouble } from "./host-trouble.js";

const system = (code: string, more: object = {}) =>
  Object.assign(new Error(`${code}: something`), { code, ...more });

it.each([
  [
    system("ENOSPC", { syscall: "write" }),
    "DISK_FULL",
    "the output cannot be written: the disk is full",
  ],
  [system("ENOSPC", { path: "/x" }), "DISK_FULL", "/x cannot be written: the disk is full"],
  [system("EDQUOT"), "DISK_FULL", "the output cannot be written: your disk quota is used up"],
  [system("EFBIG"), "FILE_SIZE_LIMIT", /ulimit -f/],
  [system("EROFS", { path: "/x" }), "READ_ONLY", /^\/x cannot be written/],
  [system("EMFILE", { path: "/x" }), "TOO_FEW_FILES", /ulimit -n 256/],
  [system("ENFILE"), "TOO_FEW_FILES", /too many open files/],
  [system("EAGAIN", { syscall: "spawn x" }), "TOO_FEW_THREADS", /ulimit -u/],
  [system("ERR_WORKER_INIT_FAILED"), "TOO_FEW_THREADS", /ulimit -u/],
  [system("ENOMEM"), "HOST_MEMORY", /not enough memory/],
  [system("EIO"), "IO_ERROR", /the device/],
  [system("ENOENT", { syscall: "uv_cwd" }), "NO_CURRENT_FOLDER", /current folder/],
  [new RangeError("Array buffer allocation failed"), "HOST_MEMORY", /not enough memory/],
  [
    new RangeError("WebAssembly.Memory(): could not allocate memory"),
    "HOST_MEMORY",
    /not enough memory/,
  ],
  [new ReferenceError("WebAssembly is not defined"), "NO_WEBASSEMBLY", /--jitless/],
] as const)("says in one line what %s stands for", (error, code, words) => {
  const trouble = hostTrouble(error);
  expect(trouble?.code).toBe(code);
  expect(trouble?.cause).toBe(error);
  const { text, status } = describeFailure(error);
  if (typeof words === "string") expect(text).toBe(words);
  else expect(text).toMatch(words);
  expect(text).not.toMatch(/\n|defect/);
  expect(status).toBe(1);
});

it("leaves refusals as they are, and defects defects", () => {
  const refusal = new HostError("NOT_A_KERNEL", "no");
  expect(hostTrouble(refusal)).toBe(refusal);
  for (const defect of [new RangeError("Invalid array length"), new TypeError("x"), "text"]) {
    expect(hostTrouble(defect)).toBeUndefined();
    expect(describeFailure(defect).text).toMatch(/defect of kvm-xen/);
  }
});
