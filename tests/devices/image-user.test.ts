/** `kvm-xen image` as an ordinary user makes what root makes. */
import { spawn } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { machineHas } from "../../tools/check/machine.mjs";
import { workFolder } from "../boot/support/guests.js";
import { copyImage, debianFiles, fileSystemOf } from "./debian-support.js";
import { listing } from "./image-listing.js";
import { fsck } from "./support.js";

const MINUTES = 60_000;
const root = new URL("../..", import.meta.url).pathname;
const folder = workFolder();
afterAll(() => folder.remove());

const ID = 54321;
/**
 * A user of this command alone: in mounts of its own the system's lists have one more. $1 is this checkout, which may be
 * below a folder that only root can look into, as $2 may be, the user's home.
 */
const AS_USER = `set -e
mount -t tmpfs tmpfs /mnt
mkdir /mnt/etc /mnt/home /mnt/kvm-xen
mount --bind "$1" /mnt/kvm-xen
mount --bind "$2" /mnt/home
shift 2
for list in passwd group subuid subgid; do cp /etc/$list /mnt/etc/$list; done
echo 'kvm-xen-test:x:${ID}:${ID}::/mnt/home:/bin/sh' >>/mnt/etc/passwd
echo 'kvm-xen-test:x:${ID}:' >>/mnt/etc/group
echo 'kvm-xen-test:1000000000:65536' | tee -a /mnt/etc/subuid >>/mnt/etc/subgid
for list in passwd group subuid subgid; do mount --bind /mnt/etc/$list /etc/$list; done
chown ${ID}:${ID} /mnt/home
cd /mnt/home
exec setpriv --reuid ${ID} --regid ${ID} --clear-groups env HOME=/mnt/home TMPDIR=/tmp "$@"
`;

/** What a command says as that user, and how it ends. */
function asUser(home: string, ...command: string[]): Promise<{ status: number; text: string }> {
  const words = ["-m", "sh", "-c", AS_USER, "sh", root, home, ...command];
  return new Promise((resolve, reject) => {
    const child = spawn("unshare", words, { stdio: ["ignore", "pipe", "pipe"] });
    let text = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (more: string) => {
        text += more;
      });
    }
    child.on("error", reject);
    child.on("close", (status) => resolve({ status: status ?? 1, text: text.trim() }));
  });
}

it.runIf(machineHas("a user who makes a Debian"))(
  "owners, rights and capabilities are those of an image that root has made",
  async () => {
    const { image, key } = await debianFiles();
    const ofUser = join(image, "../user.img");
    if (!existsSync(ofUser)) {
      const home = join(folder.path, "home");
      mkdirSync(home);
      expect(await asUser(home, "id", "-u")).toEqual({ status: 0, text: `${ID}` });
      // With the server of ssh, which has a group, as in the other image: groups have the numbers of both.
      copyFileSync(`${key}.pub`, join(home, "key.pub"));
      const options = ["--size", "2G", "--ssh-key", "key.pub", "-o", "user.img"];
      const words = [process.execPath, "/mnt/kvm-xen/dist/cli/main.js", "image", ...options];
      expect(await asUser(home, ...words)).toEqual({ status: 0, text: "" });
      // Nothing else is left, nor in the folder for temporary files.
      expect(readdirSync(home).sort()).toEqual(["key.pub", "user.img"]);
      copyImage(join(home, "user.img"), ofUser);
    }
    expect(fsck(fileSystemOf(ofUser))).toBe("");
    const [mine, theirs] = [listing(fileSystemOf(ofUser)), listing(fileSystemOf(image))];
    // The other image has more packages.
    const differing = [...mine].filter(([path, words]) => theirs.get(path) !== words);
    expect(differing).toEqual([]);
    const special = (pattern: RegExp) => [...mine].filter(([, words]) => pattern.test(words));
    expect(mine.size).toBeGreaterThan(10_000);
    expect(mine.get("/usr/bin/passwd")).toBe("104755 0:0");
    expect(mine.get("/etc/shadow")).toMatch(/^100640 0:[1-9]/);
    expect(special(/^10[2-7]/).length).toBeGreaterThan(8);
    expect(special(/capabilities/).map(([path]) => path)).toContain("/usr/bin/ping");
  },
  15 * MINUTES,
);
