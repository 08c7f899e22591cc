import { HostError } from "../base/index.js";

/**
 * Troubles of the host that reach the command as errors of Node, at places where nobody expects them:
 * a write into a full disk, a file that cannot be opened because too many are. Each has a stable code and
 * words that help; without them they would look like defects.
 */

interface Trouble {
  readonly code: string;
  /** Codes of system errors and of Node's own. */
  readonly when: readonly string[];
  readonly text: string;
}

const troubles: readonly Trouble[] = [
  { code: "DISK_FULL", when: ["ENOSPC"], text: "cannot be written: the disk is full" },
  { code: "DISK_FULL", when: ["EDQUOT"], text: "cannot be written: your disk quota is used up" },
  {
    code: "FILE_SIZE_LIMIT",
    when: ["EFBIG"],
    text: "cannot be written: it would be larger than 'ulimit -f' allows",
  },
  { code: "READ_ONLY", when: ["EROFS"], text: "cannot be written: the file system is read-only" },
  {
    code: "TOO_FEW_FILES",
    when: ["EMFILE"],
    text: "too few files may be open at once: 'ulimit -n 256' helps",
  },
  { code: "TOO_FEW_FILES", when: ["ENFILE"], text: "the system has too many open files" },
  {
    code: "TOO_FEW_THREADS",
    when: ["EAGAIN", "ERR_WORKER_INIT_FAILED"],
    text: "no more threads or processes may be started: a larger 'ulimit -u' helps",
  },
  {
    code: "HOST_MEMORY",
    when: ["ENOMEM", "ERR_WORKER_OUT_OF_MEMORY", "ERR_MEMORY_ALLOCATION_FAILED"],
    text: "the host has not enough memory for this",
  },
  { code: "IO_ERROR", when: ["EIO"], text: "cannot be read or written: an error of the device" },
];

/** V8's words when it cannot get memory for a buffer or for WebAssembly; defects have others. */
const NO_MEMORY =
  /^(Array buffer allocation failed|WebAssembly\.\w+\(\): (could not|Out of memory))/;

/** The trouble that an error stands for; undefined when it is none that is known. */
export function hostTrouble(error: unknown): HostError | undefined {
  if (error instanceof HostError) return error;
  if (!(error instanceof Error)) return undefined;
  const cause = { cause: error };
  if (error instanceof RangeError && NO_MEMORY.test(error.message)) {
    return new HostError("HOST_MEMORY", "the host has not enough memory for this", cause);
  }
  if (error instanceof ReferenceError && error.message.startsWith("WebAssembly ")) {
    const text = "this Node has no WebAssembly (--jitless?), in which kvm-xen has its processor";
    return new HostError("NO_WEBASSEMBLY", text, cause);
  }
  const { code, syscall, path } = error as NodeJS.ErrnoException;
  if (code === "ENOENT" && syscall === "uv_cwd") {
    const text = "the current folder no longer exists: change to another one";
    return new HostError("NO_CURRENT_FOLDER", text, cause);
  }
  const trouble = troubles.find(({ when }) => code !== undefined && when.includes(code));
  if (trouble === undefined) return undefined;
  const { text } = trouble;
  const subject = text.startsWith("cannot") ? `${path ?? "the output"} ` : "";
  return new HostError(trouble.code, `${subject}${text}`, cause);
}
