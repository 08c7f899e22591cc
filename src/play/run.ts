import { KVM_RUN, KvmExitReason, kvm_run } from "../kvm/index.js";
import type { Client, VcpuPlace } from "./client.js";
import { answer } from "./format.js";
import { hex, strtou32 } from "./numbers.js";

/** How long a run may take when the scenario does not say, in milliseconds. */
const DEFAULT_MS = 1000;
/** A run of 0 ms has no limit in the program that recorded; here one that shows as a hang. */
const UNLIMITED_MS = 10_000;
const NS_PER_MS = 1_000_000;

/**
 * `run [MS]`: KVM_RUN until an exit, or a signal after MS milliseconds; then prints the exit. The
 * pages of kvm_run are read as the kernel left them.
 */
export async function runStep(
  client: Client,
  vcpu: VcpuPlace,
  time: string | undefined,
): Promise<string> {
  const ms = time === undefined ? DEFAULT_MS : strtou32(time) || UNLIMITED_MS;
  const { clock, timers } = client.time;
  const deadline = clock.monotonicNs() + ms * NS_PER_MS;
  const alarm = timers.arm(deadline, () => client.process.interrupt(vcpu.fd));
  const result = await client.process.ioctl(vcpu.fd, KVM_RUN, 0n);
  alarm.cancel();
  if (result !== 0 || vcpu.run === undefined) return answer(result);
  return `${answer(0)} ${exitText(vcpu.run)}`;
}

/** A reader of a field of `kvm_run` by its path. */
class RunPage {
  readonly bytes: Uint8Array;
  readonly #view: DataView;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  u8 = (path: string): number => this.#view.getUint8(kvm_run.offset(path));
  u16 = (path: string): number => this.#view.getUint16(kvm_run.offset(path), true);
  u32 = (path: string): number => this.#view.getUint32(kvm_run.offset(path), true);
  u64 = (path: string, index = 0): bigint =>
    this.#view.getBigUint64(kvm_run.offset(path) + index * 8, true);
}

function exitText(bytes: Uint8Array): string {
  const page = new RunPage(bytes);
  const reason = page.u32("exit_reason");
  switch (reason) {
    case KvmExitReason.IO:
      return ioText(page);
    case KvmExitReason.MMIO:
      return mmioText(page);
    case KvmExitReason.XEN:
      return xenText(page);
    case KvmExitReason.HLT:
      return "HLT";
    case KvmExitReason.SHUTDOWN:
      return "SHUTDOWN";
    case KvmExitReason.IRQ_WINDOW_OPEN:
      return "IRQ_WINDOW_OPEN";
    case KvmExitReason.INTERNAL_ERROR:
      return `INTERNAL_ERROR suberror=${page.u32("internal.suberror")}`;
    case KvmExitReason.FAIL_ENTRY:
      return "FAIL_ENTRY";
    default:
      return `exit${reason}`;
  }
}

function ioText(page: RunPage): string {
  const out = page.u8("io.direction") !== 0;
  const size = page.u8("io.size");
  const count = page.u32("io.count");
  const at = Number(page.u64("io.data_offset"));
  const access = `port=0x${page.u16("io.port").toString(16)} size=${size} count=${count}`;
  const data = out ? ` data=${hex(page.bytes.subarray(at, at + size * count))}` : "";
  return `IO ${out ? "out" : "in"} ${access}${data}`;
}

function mmioText(page: RunPage): string {
  const write = page.u8("mmio.is_write") !== 0;
  const length = page.u32("mmio.len");
  const at = kvm_run.offset("mmio.data");
  const data = write ? ` data=${hex(page.bytes.subarray(at, at + length))}` : "";
  const gpa = page.u64("mmio.phys_addr").toString(16);
  return `MMIO ${write ? "write" : "read"} gpa=0x${gpa} len=${length}${data}`;
}

function xenText(page: RunPage): string {
  const number = (field: string) => page.u32(`xen.u.hcall.${field}`);
  const params = Array.from({ length: 6 }, (_, i) =>
    page.u64("xen.u.hcall.params", i).toString(16),
  );
  const mode = `longmode=${number("longmode")} cpl=${number("cpl")}`;
  const input = page.u64("xen.u.hcall.input").toString(16);
  return `XEN type=${page.u32("xen.type")} ${mode} input=0x${input} params=${params.join(",")}`;
}
