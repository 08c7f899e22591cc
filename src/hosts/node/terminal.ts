import { spawnSync } from "node:child_process";

/**
 * Makes the terminal at the standard input show what it gets as it is (`stty -opost`): without, it makes CR LF of
 * LF. Where there is no stty it goes on doing so. Whoever restores the terminal's settings undoes it.
 */
export function clearOutputProcessing(): void {
  spawnSync("stty", ["-opost"], { stdio: ["inherit", "ignore", "ignore"] });
}
