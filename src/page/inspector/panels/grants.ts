/** The grant table: which pages the guest lets backends use, and which they have mapped. */
import { Gtf } from "../../../abi/xen/grant-table.js";
import { el, hex, setText, Table } from "../dom.js";
import { ofTheMonitor, type Panel, type PanelContext } from "../panel.js";

export const parts = { grants: true };

/** @limit guest | grants on the page | rows | the first are shown */
const MAX_ROWS = 500;

/** Flags in Xen's words. */
export function grantFlags(flags: number): string {
  const type = flags & Gtf.type_mask;
  const names = [
    type === Gtf.permit_access ? "permit_access" : type === 0 ? "invalid" : `type ${type}`,
    ...(["readonly", "reading", "writing"] as const).filter((name) => (flags & Gtf[name]) !== 0),
  ];
  const rest = flags & ~(Gtf.type_mask | Gtf.readonly | Gtf.reading | Gtf.writing);
  return `${names.join(" ")}${rest === 0 ? "" : ` ${hex(rest)}`}`;
}

export function create(host: HTMLElement, { model }: PanelContext): Panel {
  const table = new Table(
    "Grant table, entries that are not empty",
    ["reference", "flags", "domain", "frame", "mapped to read", "mapped to write"],
    true,
  );
  const size = el("p", { class: "note" });
  const why = ofTheMonitor("The grant table");
  host.append(size, table.element, why);
  return {
    update() {
      const domain = model.view?.vms[0]?.domain;
      why.hidden = model.inspected !== "exec";
      table.element.hidden = size.hidden = model.inspected === "exec";
      if (domain?.grants === undefined) return;
      const { grants, grantEntries } = domain;
      const shown = grants.slice(0, MAX_ROWS);
      const left = grants.length > shown.length ? `, of which the first ${MAX_ROWS} are shown` : "";
      setText(size, `${grants.length} entries of ${grantEntries} are in use${left}.`);
      table.show(
        shown.map(({ ref, flags, domid, frame, readers, writers }) => ({
          key: String(ref),
          cells: [
            ...[String(ref), grantFlags(flags), String(domid), hex(frame)],
            ...[String(readers), String(writers)],
          ],
        })),
      );
    },
  };
}
