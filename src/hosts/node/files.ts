import { readFile } from "node:fs/promises";
import { HostError } from "../../base/index.js";

const reasons: Record<string, string> = {
  ENOENT: "no such file",
  EACCES: "no permission to read it",
  EISDIR: "it is a folder",
  ENOTDIR: "no such file",
};

/**
 * Reads a file that the user named.
 * @param role what it is for, such as "kernel"; it begins the message of a refusal.
 * @throws HostError `FILE_UNREADABLE`, whose message names the file and the reason.
 */
export async function readUserFile(path: string, role: string): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    const reason = reasons[code ?? ""] ?? message;
    throw new HostError("FILE_UNREADABLE", `${role} ${path}: ${reason}; check the path`, { cause });
  }
}
