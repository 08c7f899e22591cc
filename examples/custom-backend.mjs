// @ts-check
/**
 * What is behind a disk is up to the program: here a disk of 1 GiB that nobody has stored. Each sector says its own
 * number, and what the guest writes is told to this program and forgotten.
 */
import { createMachine, debianGuest } from "kvm-xen/hosts/node";

const SECTOR = 512;

/** @implements {import("kvm-xen/hosts/node").Disk} */
class CountingDisk {
  size = 2 ** 30;
  readonly = false;
  blockSize = SECTOR;
  canDiscard = false;
  /** @type {string[]} */
  written = [];
  /** @type {Promise<unknown>} */
  #last = Promise.resolve();

  /**
   * @param {number} offset
   * @param {Uint8Array} into
   * @param {import("kvm-xen/hosts/node").DiskDone} done
   */
  read(offset, into, done) {
    for (let at = 0; at < into.length; at += SECTOR) {
      const text = `sector ${(offset + at) / SECTOR}\n`;
      new TextEncoder().encodeInto(text, into.fill(0, at, at + SECTOR).subarray(at));
    }
    this.#later(done);
  }

  /**
   * @param {number} offset
   * @param {Uint8Array} bytes
   * @param {import("kvm-xen/hosts/node").DiskDone} done
   */
  write(offset, bytes, done) {
    this.written.push(`${bytes.length} bytes at sector ${offset / SECTOR}`);
    this.#later(done);
  }

  /** @param {import("kvm-xen/hosts/node").DiskDone} done */
  flush(done) {
    this.#later(done);
  }

  /**
   * @param {number} _offset
   * @param {number} _length
   * @param {import("kvm-xen/hosts/node").DiskDone} done
   */
  discard(_offset, _length, done) {
    this.#later(done);
  }

  async resize() {
    throw new Error("it stays as it is");
  }

  async idle() {
    await this.#last;
  }

  async close() {}

  /**
   * An answer never comes before the call that asked for it has returned.
   * @param {import("kvm-xen/hosts/node").DiskDone} done
   */
  #later(done) {
    this.#last = this.#last.then(() => done());
  }
}

const disk = new CountingDisk();
const machine = await createMachine({ ...(await debianGuest()), disks: [{ disk }] });
const ended = machine.run();
const { stdout } = await machine.exec([
  "sh",
  "-c",
  "dd if=/dev/xvda bs=512 skip=1234567 count=1 | head -n 1; echo x | dd of=/dev/xvda conv=fsync seek=8",
]);
machine.stop();
await ended;
console.log(new TextDecoder().decode(stdout).trim());
console.log(disk.written.join("\n"));
if (!/sector 1234567/.test(`${new TextDecoder().decode(stdout)}`)) process.exitCode = 1;
