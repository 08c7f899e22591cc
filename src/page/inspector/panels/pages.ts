/** The pages that guest and KVM share, as structures, with what changes highlighted. */
import type { VmView } from "../../../inspect/protocol.js";
import type { SharedAreaView } from "../../../kvm/index.js";
import { el, hex, Table, VcpuChoice } from "../dom.js";
import { type Panel, type PanelContext, vmName } from "../panel.js";
import {
  type Member,
  pvclockMembers,
  runstateMembers,
  sharedInfoMembers,
  vcpuInfoMembers,
} from "../structures.js";

export const parts = {};

type Row = { readonly key: string; readonly cells: readonly string[] };

/** An area's rows; `of` reads it when there are bytes. */
function rows(
  name: string,
  area: SharedAreaView | undefined,
  of: (bytes: Uint8Array) => Member[],
): Row[] {
  const why = (text: string): Row[] => [{ key: name, cells: [name, "", "", "", text] }];
  if (area === undefined) return why("not registered");
  const at = area.gpa === undefined ? `host ${hex(area.hva)}` : hex(area.gpa);
  if (area.bytes === undefined) {
    return [{ key: name, cells: [name, at, "", "", "not in memory, or across two pages"] }];
  }
  return of(area.bytes).map(({ offset, name: member, value }) => ({
    key: `${name} ${member}`,
    cells: [name, at, hex(offset), member, value],
  }));
}

export function create(host: HTMLElement, { model }: PanelContext): Panel {
  const columns = ["page", "address", "offset", "member", "value"];
  const shared = new Table("Page of the VM", columns, true);
  const own = new Table("Areas of a vCPU", columns, true);
  const choice = new VcpuChoice(() => update());
  host.append(shared.element, el("p", { class: "tools" }, choice.element), own.element);

  function ofVm(one: VmView, of: number): Row[] {
    const { sharedInfo, longMode } = one.kvm;
    const name = `${vmName(one, of)}shared_info`;
    return rows(name, sharedInfo, (bytes) => sharedInfoMembers(bytes, longMode));
  }

  function update(): void {
    const { view } = model;
    if (view === undefined) return;
    shared.show(view.vms.flatMap((one) => ofVm(one, view.vms.length)));
    const chosen = choice.pick(view);
    const vcpu = chosen?.one.kvm.vcpus[chosen.index];
    if (chosen === undefined || vcpu === undefined) {
      own.show([]);
      return;
    }
    const { longMode } = chosen.one.kvm;
    own.show([
      ...rows("vcpu_info", vcpu.vcpuInfo, (bytes) => vcpuInfoMembers(bytes, longMode)),
      ...rows("time_info", vcpu.timeInfo, pvclockMembers),
      ...rows("runstate", vcpu.runstateArea, (bytes) => runstateMembers(bytes, longMode)),
    ]);
  }
  return { update };
}
