/** SCHEDOP_poll: a vCPU that waits for ports, perhaps until a time. */
import type { Domain } from "./domain.js";
import type { VcpuDomain } from "./vcpu-domain.js";

/** The vCPU stops until an event, or one of the port (-1 is each) although that is masked. */
export function startPoll(vcpu: VcpuDomain, port: number): void {
  vcpu.pollPort = port;
  vcpu.isPolling = true;
  vcpu.host.haltOnce(() => {
    vcpu.pollTimer?.cancel();
    vcpu.pollTimer = undefined;
    vcpu.pollPort = undefined;
    vcpu.isPolling = false;
  });
}

/** Ends the wait at a time of the clock port. */
export function armPoll({ host }: Domain, vcpu: VcpuDomain, deadlineNs: number): void {
  vcpu.pollDeadlineNs = deadlineNs;
  vcpu.pollTimer = host.clock.timers.arm(deadlineNs, () => vcpu.host.notify());
}
