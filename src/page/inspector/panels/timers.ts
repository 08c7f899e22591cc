/** One-shot timers: those of KVM, and those of the user half. */
import { count, ms, Table } from "../dom.js";
import { ofTheMonitor, type Panel, type PanelContext, vmName } from "../panel.js";

export const parts = {};

export function create(host: HTMLElement, { model }: PanelContext): Panel {
  const own = new Table(
    "KVM's timers",
    ["vCPU", "port", "expires, ns of kvmclock", "in", "state", "armed", "fired"],
    true,
  );
  const monitors = new Table(
    "Timers of the user half",
    ["Xen vCPU", "one-shot", "periodic", "vCPU is down"],
    true,
  );
  const why = ofTheMonitor("Timers of the user half");
  host.append(own.element, monitors.element, why);
  return {
    update() {
      const { view } = model;
      if (view === undefined) return;
      const many = view.vms.length;
      own.show(
        view.vms.flatMap((one) =>
          one.kvm.vcpus.map(({ id, timer }) => {
            const { port, expires, pending } = timer;
            const isArmed = expires !== 0n;
            const left = isArmed && !pending ? ms(expires - one.kvm.kvmclock) : "";
            const how =
              port === 0 ? "off: left to the monitor" : pending ? "has fired, waits" : "armed";
            const state = port !== 0 && !isArmed ? "not armed" : how;
            const { armed = 0, fired = 0 } = model.timers.get(`${one.vm}:${id}`) ?? {};
            return {
              key: `${one.vm}:${id}`,
              cells: [
                ...[`${vmName(one, many)}${id}`, port === 0 ? "" : String(port)],
                ...[isArmed ? String(expires) : "", left, state, count(armed), count(fired)],
              ],
            };
          }),
        ),
      );
      const kept = view.vms.flatMap((one) => one.domain?.timers ?? []);
      monitors.element.hidden = model.inspected === "exec";
      why.hidden = model.inspected !== "exec";
      monitors.show(
        kept.map(({ vcpu, oneShot, periodic, down }) => ({
          key: String(vcpu),
          cells: [
            ...[String(vcpu), oneShot ? "armed" : "off", periodic ? "on" : "off"],
            down ? "yes" : "no",
          ],
        })),
      );
    },
  };
}
