import { Errno, type ErrnoName } from "../base/index.js";
import { KvmError } from "./api/error.js";

/** Throws {@link KvmError} with the errno of that name. */
export function refuse(name: ErrnoName, what: string): never {
  throw new KvmError(Errno[name], what);
}
