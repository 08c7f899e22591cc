import { existsSync } from "node:fs";
import { join } from "node:path";
import { type Browser, chromium } from "playwright-core";

/** Where a program is that the shell would find. */
function programPath(name: string): string {
  const folders = (process.env["PATH"] ?? "").split(":");
  const found = folders.map((folder) => join(folder, name)).find((path) => existsSync(path));
  if (found === undefined) throw new Error(`there is no ${name}: install it`);
  return found;
}

/** Debian's Chromium. Its sandbox needs privileges that tests do not have. */
export function openBrowser(): Promise<Browser> {
  return chromium.launch({
    executablePath: programPath("chromium"),
    args: ["--no-sandbox"],
    // Chromium has a home of its own for what it keeps.
    env: { ...process.env, HOME: "/tmp" } as Record<string, string>,
  });
}
