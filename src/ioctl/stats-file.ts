import { Errno } from "../base/index.js";
import { kvm_stats_desc, kvm_stats_header, type Statistic } from "../kvm/index.js";
import type { KvmFile } from "./file.js";
import type { VmContext } from "./vm-context.js";

/** `KVM_STATS_NAME_SIZE`. */
const NAME_SIZE = 48;

/** `KVM_STATS_TYPE_*` and `KVM_STATS_UNIT_*`. */
const FLAGS = { cumulative: 0, instant: 1, boolean: 0x41 } as const;

const HEADER_SIZE = kvm_stats_header.size;
const DESC_SIZE = kvm_stats_desc.size + NAME_SIZE;

/** What KVM_GET_STATS_FD opens: header, name, descriptors, numbers. It keeps the VM alive. */
export class StatsFile implements KvmFile {
  readonly name: string;
  readonly #vm: VmContext;
  readonly #title: string;
  readonly #numbers: () => readonly Statistic[];

  /** `title`: how the statistics call themselves; `name`: how the file is called. */
  constructor(vm: VmContext, name: string, title: string, numbers: () => readonly Statistic[]) {
    this.#vm = vm;
    this.name = name;
    this.#title = title;
    this.#numbers = numbers;
    vm.hold();
  }

  ioctl(): number {
    return -Errno.ENOTTY;
  }

  mmap(): number {
    return -Errno.ENODEV;
  }

  read(length: number, offset: number): Uint8Array {
    const image = this.#image();
    const start = Math.min(Math.max(0, offset), image.length);
    return image.subarray(start, Math.min(image.length, start + length));
  }

  release(): void {
    this.#vm.drop();
  }

  #image(): Uint8Array {
    const numbers = this.#numbers();
    const desc = HEADER_SIZE + NAME_SIZE;
    const data = desc + numbers.length * DESC_SIZE;
    const image = new Uint8Array(data + numbers.length * 8);
    const view = new DataView(image.buffer);
    image.set(
      kvm_stats_header.encode({
        name_size: NAME_SIZE,
        num_desc: numbers.length,
        id_offset: HEADER_SIZE,
        desc_offset: desc,
        data_offset: data,
      }),
    );
    image.set(text(this.#title), HEADER_SIZE);
    for (const [i, { name, kind, value }] of numbers.entries()) {
      const at = desc + i * DESC_SIZE;
      image.set(kvm_stats_desc.encode({ flags: FLAGS[kind], size: 1, offset: i * 8 }), at);
      image.set(text(name), at + kvm_stats_desc.size);
      view.setBigUint64(data + i * 8, BigInt.asUintN(64, value), true);
    }
    return image;
  }
}

/** A name as it fits, with a zero behind it. */
const text = (name: string): Uint8Array =>
  new TextEncoder().encode(name).subarray(0, NAME_SIZE - 1);

/** KVM_GET_STATS_FD: a descriptor for statistics, or -errno. */
export function createStatsFile(
  vm: VmContext,
  name: string,
  suffix: string,
  numbers: () => readonly Statistic[],
): number {
  const file = new StatsFile(vm, name, `kvm-${vm.process.pid ?? 0}${suffix}`, numbers);
  const fd = vm.process.install(file);
  if (fd < 0) file.release();
  return fd;
}
