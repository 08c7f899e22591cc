import type { MachineConfig } from "./config.js";

/**
 * The kernel's command line. A Xen HVM guest does not find its console by itself, so it is named
 * unless the user has named one.
 */
export function consoleCommandLine(append: string, console: MachineConfig["console"]): string {
  const namesConsole = /(^|\s)console=/.test(append);
  if (namesConsole || console === "none") return append;
  return `console=${console} ${append}`.trim();
}
