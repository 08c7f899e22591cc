import { join } from "node:path";
import { unpackPackages } from "../../../tools/debian/packages.mjs";
import { unpacked } from "./packages.js";

/** virtiofsd of the release after Debian 12, started by its own dynamic linker: words before its options. */
export async function virtiofsd(): Promise<readonly string[]> {
  const root = await unpacked("monitors-virtiofsd", (folder) =>
    unpackPackages("trixie", ["--with-depends", "virtiofsd"], folder),
  );
  const libraries = join(root, "usr/lib/x86_64-linux-gnu");
  const loader = join(root, "usr/lib64/ld-linux-x86-64.so.2");
  return [loader, "--library-path", libraries, join(root, "usr/libexec/virtiofsd")];
}
