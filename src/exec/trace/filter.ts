import { HostError } from "../../base/index.js";
import { ioctlNames } from "./names.js";

/** Whether a call with this name is shown. */
export type TraceFilter = (name: string) => boolean;

/**
 * What `--trace-filter` says: names of ioctls with commas between, `*` for any letters, all others when it
 * begins with `!`. The prefix `KVM_` may be left out.
 * @throws HostError TRACE_FILTER for a name that fits no ioctl.
 */
export function parseTraceFilter(text: string): TraceFilter {
  const isNegative = text.startsWith("!");
  const patterns = (isNegative ? text.slice(1) : text).split(",").map((word) => {
    const name = word
      .trim()
      .toUpperCase()
      .replace(/^(?!KVM_|\*|$)/, "KVM_");
    const pattern = new RegExp(
      `^${name.replaceAll(/[^A-Z0-9_*]/g, "\\$&").replaceAll("*", ".*")}$`,
    );
    if (name === "" || !ioctlNames.some((known) => pattern.test(known))) {
      throw new HostError("TRACE_FILTER", `--trace-filter: no ioctl of KVM is called '${word}'`);
    }
    return pattern;
  });
  return (name) => patterns.some((pattern) => pattern.test(name)) !== isNegative;
}
