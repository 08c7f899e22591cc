import { type Permission, PRIVILEGED } from "./node.js";
import { domainPath } from "./path.js";
import type { Store } from "./store.js";
import { toBytes } from "./wire.js";

/** What the first nodes of a domain say. */
export interface DomainNodes {
  readonly domid: number;
  readonly name: string;
  readonly uuid: string;
  readonly vcpus: number;
  readonly memoryBytes: number;
  readonly store: { readonly port: number; readonly gfn: number };
  readonly console: { readonly port: number; readonly gfn: number };
}

/** Makes the nodes that a toolstack makes before a guest starts. */
export function writeInitialNodes(store: Store, nodes: DomainNodes): void {
  const { domid } = nodes;
  const home = domainPath(domid);
  const readable: Permission[] = [
    { domid: PRIVILEGED, access: "n" },
    { domid, access: "r" },
  ];
  const own: Permission[] = [{ domid, access: "n" }];
  const put = (path: string, value: string, permissions: Permission[]): void => {
    store.write(PRIVILEGED, 0, path, toBytes(value));
    store.setPermissions(PRIVILEGED, 0, path, permissions);
  };
  const vm = `/vm/${nodes.uuid}`;
  put(home, "", readable);
  put(vm, "", readable);
  put(`${vm}/uuid`, nodes.uuid, readable);
  put(`${vm}/name`, nodes.name, readable);
  const fixed: Record<string, string> = {
    vm,
    name: nodes.name,
    domid: `${domid}`,
    control: "",
    "control/platform-feature-xs_reset_watches": "1",
    "control/platform-feature-multiprocessor-suspend": "1",
    platform: "",
    "platform/acpi": "1",
    "platform/acpi_s3": "0",
    "platform/acpi_s4": "0",
    "platform/acpi_laptop_slate": "0",
    store: "",
    "store/port": `${nodes.store.port}`,
    "store/ring-ref": `${nodes.store.gfn}`,
    console: "",
    "console/backend-id": "0",
    "console/port": `${nodes.console.port}`,
    "console/ring-ref": `${nodes.console.gfn}`,
    "console/type": "xenconsoled",
    "console/output": "pty",
    "console/limit": "1048576",
    memory: "",
    "memory/static-max": `${nodes.memoryBytes / 1024}`,
    "memory/target": `${nodes.memoryBytes / 1024}`,
    "memory/videoram": "0",
    cpu: "",
  };
  for (let i = 0; i < nodes.vcpus; i++) {
    fixed[`cpu/${i}`] = "";
    fixed[`cpu/${i}/availability`] = "online";
  }
  for (const [path, value] of Object.entries(fixed)) put(`${home}/${path}`, value, readable);
  const guest: Record<string, string> = {
    "control/shutdown": "",
    "control/sysrq": "",
    "control/feature-poweroff": "1",
    "control/feature-reboot": "1",
    "control/feature-suspend": "0",
    attr: "",
    data: "",
    device: "",
    drivers: "",
    error: "",
    feature: "",
  };
  for (const [path, value] of Object.entries(guest)) put(`${home}/${path}`, value, own);
}
