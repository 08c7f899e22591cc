/**
 * The machine that a tab has saved last, in the browser's private files. A tab has a place of its own there, by a lock that
 * it holds as long as it is open: two tabs never have the same, and a tab that is loaded again has its old one.
 */
const FOLDER = "kvm-xen";
const LOCK = "kvm-xen: ";
const END = ".snapshot";
/** Where the name of a tab's place is kept through a reload. */
const OWN = "kvm-xen place";
/** @limit user | saved machines in the browser's private files | machines | the oldest that no tab has are removed */
const MAX_KEPT = 3;

/** A tab's place. */
export class Place {
  readonly name: string;
  readonly #folder: FileSystemDirectoryHandle;

  private constructor(name: string, folder: FileSystemDirectoryHandle) {
    this.name = name;
    this.#folder = folder;
  }

  /** Takes one: the tab's own, the newest that no tab has, or a new one. Undefined where the browser has no such files. */
  static async take(): Promise<Place | undefined> {
    if (!("locks" in navigator) || navigator.storage?.getDirectory === undefined) return undefined;
    try {
      const root = await navigator.storage.getDirectory();
      const folder = await root.getDirectoryHandle(FOLDER, { create: true });
      const own = sessionStorage.getItem(OWN);
      const kept = (await saved(folder)).map(({ name }) => name);
      const names = [...(own === null ? [] : [own]), ...kept, crypto.randomUUID()];
      for (const name of names) {
        if (!(await hold(name))) continue;
        sessionStorage.setItem(OWN, name);
        return new Place(name, folder);
      }
    } catch {
      // Private windows may have none.
    }
    return undefined;
  }

  /** The machine that is kept here. */
  async file(): Promise<File | undefined> {
    try {
      const file = await (await this.#folder.getFileHandle(this.name + END)).getFile();
      return file.size > 0 ? file : undefined;
    } catch {
      return undefined;
    }
  }

  /** Keeps a machine in place of the last one, which stays if that fails. @throws what the browser says. */
  async keep(machine: Blob): Promise<File> {
    await this.#makeRoom();
    const handle = await this.#folder.getFileHandle(this.name + END, { create: true });
    // What is written is there when it is closed, and not before.
    const writable = await handle.createWritable();
    try {
      await writable.write(machine);
      await writable.close();
    } catch (error) {
      await writable.abort().catch(() => undefined);
      throw error;
    }
    return handle.getFile();
  }

  async #makeRoom(): Promise<void> {
    const others = (await saved(this.#folder)).filter(({ name }) => name !== this.name);
    for (const { name } of others.slice(MAX_KEPT - 1)) {
      await navigator.locks.request(LOCK + name, { ifAvailable: true }, async (lock) => {
        if (lock !== null) await this.#folder.removeEntry(name + END);
      });
    }
  }
}

/** Machines that are kept, the newest first. */
async function saved(folder: FileSystemDirectoryHandle): Promise<{ name: string; at: number }[]> {
  const found: { name: string; at: number }[] = [];
  for await (const [file, handle] of folder.entries()) {
    if (!file.endsWith(END) || handle.kind !== "file") continue;
    const { lastModified } = await (handle as FileSystemFileHandle).getFile();
    found.push({ name: file.slice(0, -END.length), at: lastModified });
  }
  return found.sort((a, b) => b.at - a.at);
}

/** Holds a place's lock for as long as the page is there; false when another tab has it. */
function hold(name: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    navigator.locks
      .request(LOCK + name, { ifAvailable: true }, (lock) => {
        resolve(lock !== null);
        return lock === null ? undefined : new Promise(() => undefined);
      })
      .catch(reject);
  });
}
