import { fileURLToPath } from "node:url";

/** A file of this package, by its path from the package's root. */
export function packageFile(path: string): string {
  return fileURLToPath(new URL(`../../../${path}`, import.meta.url));
}
