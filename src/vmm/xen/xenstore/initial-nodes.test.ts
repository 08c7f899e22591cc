import { describe, expect, it } from "vitest";
import { writeInitialNodes } from "./initial-nodes.js";
import { formatPermission } from "./node.js";
import { Store } from "./store.js";
import { toText } from "./wire.js";

/**
 * What a guest finds in its store before it runs: nodes of Xen's docs/misc/xenstore-paths.pandoc, with the values that
 * libxl gives a guest of 4 MiB and two vCPUs. `n0 r5` are nodes for reading, `n5` the guest's own.
 */
const HOME = "/local/domain/5";
const UUID = "00000000-0000-4000-8000-000000000001";
const READ = "n0 r5";
const OWN = "n5";

const NODES: readonly [path: string, value: string, permissions: string][] = [
  [`/vm/${UUID}`, "", READ],
  [`/vm/${UUID}/uuid`, UUID, READ],
  [`/vm/${UUID}/name`, "guest", READ],
  [HOME, "", READ],
  [`${HOME}/vm`, `/vm/${UUID}`, READ],
  [`${HOME}/name`, "guest", READ],
  [`${HOME}/domid`, "5", READ],
  [`${HOME}/control`, "", READ],
  [`${HOME}/control/platform-feature-xs_reset_watches`, "1", READ],
  [`${HOME}/control/platform-feature-multiprocessor-suspend`, "1", READ],
  [`${HOME}/control/shutdown`, "", OWN],
  [`${HOME}/control/sysrq`, "", OWN],
  [`${HOME}/control/feature-poweroff`, "1", OWN],
  [`${HOME}/control/feature-reboot`, "1", OWN],
  [`${HOME}/control/feature-suspend`, "0", OWN],
  [`${HOME}/platform`, "", READ],
  [`${HOME}/platform/acpi`, "1", READ],
  [`${HOME}/platform/acpi_s3`, "0", READ],
  [`${HOME}/platform/acpi_s4`, "0", READ],
  [`${HOME}/platform/acpi_laptop_slate`, "0", READ],
  [`${HOME}/store`, "", READ],
  [`${HOME}/store/port`, "3", READ],
  [`${HOME}/store/ring-ref`, "1044473", READ],
  [`${HOME}/console`, "", READ],
  [`${HOME}/console/backend-id`, "0", READ],
  [`${HOME}/console/port`, "4", READ],
  [`${HOME}/console/ring-ref`, "1044472", READ],
  [`${HOME}/console/type`, "xenconsoled", READ],
  [`${HOME}/console/output`, "pty", READ],
  [`${HOME}/console/limit`, "1048576", READ],
  // KiB.
  [`${HOME}/memory`, "", READ],
  [`${HOME}/memory/static-max`, "4096", READ],
  [`${HOME}/memory/target`, "4096", READ],
  [`${HOME}/memory/videoram`, "0", READ],
  [`${HOME}/cpu`, "", READ],
  [`${HOME}/cpu/0`, "", READ],
  [`${HOME}/cpu/0/availability`, "online", READ],
  [`${HOME}/cpu/1`, "", READ],
  [`${HOME}/cpu/1/availability`, "online", READ],
  ...["attr", "data", "device", "drivers", "error", "feature"].map(
    (name) => [`${HOME}/${name}`, "", OWN] as [string, string, string],
  ),
];

function shown(vcpus: number): Map<string, readonly [string, string]> {
  const store = new Store();
  writeInitialNodes(store, {
    ...{ domid: 5, name: "guest", uuid: UUID, vcpus, memoryBytes: 4 << 20 },
    store: { port: 3, gfn: 0xfeff9 },
    console: { port: 4, gfn: 0xfeff8 },
  });
  const nodes = store.nodes(1000).map(({ path, value, permissions }) => {
    const text = permissions.map(formatPermission).join(" ");
    return [path, [toText(value), text]] as const;
  });
  return new Map(nodes);
}

describe("the first nodes of a domain", () => {
  it.each(NODES)("%s is %j, for %s", (path, value, permissions) => {
    expect(shown(2).get(path)).toEqual([value, permissions]);
  });

  it("are all that there are, beside domain 0's own above them", () => {
    const above = ["/", "/vm", "/local", "/local/domain"];
    const expected = [...NODES.map(([path]) => path), ...above];
    expect([...shown(2).keys()].toSorted()).toEqual(expected.toSorted());
    for (const path of above) expect(shown(2).get(path)).toEqual(["", "n0"]);
  });

  it("name as many vCPUs as there are", () => {
    const cpus = [...shown(1).keys()].filter((path) => path.includes("/cpu/"));
    expect(cpus).toEqual([`${HOME}/cpu/0`, `${HOME}/cpu/0/availability`]);
  });
});
