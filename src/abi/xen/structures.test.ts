import { describe, expect, it } from "vitest";
import type { Fields, Struct } from "../layout.js";
import * as eventChannel from "./event-channel.js";
import * as grantTable from "./grant-table.js";
import * as hvm from "./hvm.js";
import * as memory from "./memory.js";
import * as sched from "./sched.js";
import * as vcpu from "./vcpu.js";
import * as version from "./version.js";

/** What gcc says of Xen 4.17's public headers: [with -m64, with -m32]. */
const GOLDEN: Record<
  string,
  { size: readonly [number, number]; offsets: Record<string, readonly [number, number]> }
> = {
  xen_platform_parameters: { size: [8, 4], offsets: { virt_start: [0, 0] } },
  xen_feature_info: { size: [8, 8], offsets: { submap_idx: [0, 0], submap: [4, 4] } },
  xen_add_to_physmap: {
    size: [24, 16],
    offsets: { domid: [0, 0], size: [2, 2], space: [4, 4], idx: [8, 8], gpfn: [16, 12] },
  },
  xen_add_to_physmap_batch: {
    size: [32, 20],
    offsets: {
      domid: [0, 0],
      space: [2, 2],
      size: [4, 4],
      u: [6, 6],
      idxs: [8, 8],
      gpfns: [16, 12],
      errs: [24, 16],
    },
  },
  xen_remove_from_physmap: { size: [16, 8], offsets: { domid: [0, 0], gpfn: [8, 4] } },
  xen_memory_map: { size: [16, 8], offsets: { nr_entries: [0, 0], buffer: [8, 4] } },
  xen_hvm_param: {
    size: [16, 16],
    offsets: { domid: [0, 0], pad: [2, 2], index: [4, 4], value: [8, 8] },
  },
  xen_hvm_evtchn_upcall_vector: { size: [8, 8], offsets: { vcpu: [0, 0], vector: [4, 4] } },
  vcpu_set_periodic_timer: { size: [8, 8], offsets: { period_ns: [0, 0] } },
  vcpu_set_singleshot_timer: { size: [16, 12], offsets: { timeout_abs_ns: [0, 0], flags: [8, 8] } },
  vcpu_register_vcpu_info: {
    size: [16, 16],
    offsets: { mfn: [0, 0], offset: [8, 8], rsvd: [12, 12] },
  },
  vcpu_runstate_info: { size: [48, 44], offsets: { state: [0, 0], state_entry_time: [8, 4] } },
  sched_shutdown: { size: [4, 4], offsets: { reason: [0, 0] } },
  sched_watchdog: { size: [8, 8], offsets: { id: [0, 0], timeout: [4, 4] } },
  evtchn_bind_interdomain: {
    size: [12, 12],
    offsets: { remote_dom: [0, 0], remote_port: [4, 4], local_port: [8, 8] },
  },
  evtchn_bind_virq: { size: [12, 12], offsets: { virq: [0, 0], vcpu: [4, 4], port: [8, 8] } },
  evtchn_status: {
    size: [24, 24],
    offsets: { dom: [0, 0], port: [4, 4], status: [8, 8], vcpu: [12, 12] },
  },
  evtchn_alloc_unbound: {
    size: [8, 8],
    offsets: { dom: [0, 0], remote_dom: [2, 2], port: [4, 4] },
  },
  evtchn_bind_ipi: { size: [8, 8], offsets: { vcpu: [0, 0], port: [4, 4] } },
  evtchn_bind_vcpu: { size: [8, 8], offsets: { port: [0, 0], vcpu: [4, 4] } },
  evtchn_reset: { size: [2, 2], offsets: { dom: [0, 0] } },
  gnttab_map_grant_ref: {
    size: [32, 32],
    offsets: {
      host_addr: [0, 0],
      flags: [8, 8],
      ref: [12, 12],
      dom: [16, 16],
      status: [18, 18],
      handle: [20, 20],
      dev_bus_addr: [24, 24],
    },
  },
  gnttab_unmap_grant_ref: {
    size: [24, 24],
    offsets: { host_addr: [0, 0], dev_bus_addr: [8, 8], handle: [16, 16], status: [20, 20] },
  },
  gnttab_setup_table: {
    size: [24, 16],
    offsets: { dom: [0, 0], nr_frames: [4, 4], status: [8, 8], frame_list: [16, 12] },
  },
  gnttab_copy: {
    size: [40, 24],
    offsets: { source: [0, 0], "dest.offset": [26, 14], len: [32, 16], status: [36, 20] },
  },
  gnttab_query_size: {
    size: [16, 16],
    offsets: { dom: [0, 0], nr_frames: [4, 4], max_nr_frames: [8, 8], status: [12, 12] },
  },
  gnttab_set_version: { size: [4, 4], offsets: { version: [0, 0] } },
  gnttab_get_version: { size: [8, 8], offsets: { dom: [0, 0], version: [4, 4] } },
  grant_entry_v1: { size: [8, 8], offsets: { flags: [0, 0], domid: [2, 2], frame: [4, 4] } },
};

const modules: Record<string, unknown> = {
  ...eventChannel,
  ...grantTable,
  ...hvm,
  ...memory,
  ...sched,
  ...vcpu,
  ...version,
};

describe("layouts against the headers", () => {
  it.each(Object.keys(GOLDEN))("%s", (name) => {
    const golden = GOLDEN[name];
    const declared = modules[name] as Struct<Fields>;
    expect(golden).toBeDefined();
    expect(declared?.name).toBe(name);
    for (const [index, width] of [
      [0, 64],
      [1, 32],
    ] as const) {
      const layout = declared.of(width);
      expect(layout.size).toBe(golden?.size[index]);
      for (const [field, offsets] of Object.entries(golden?.offsets ?? {})) {
        expect([field, layout.offset(field)]).toEqual([field, offsets[index]]);
      }
    }
  });
});
