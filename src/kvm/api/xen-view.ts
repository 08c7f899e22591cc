/**
 * What KVM's Xen support knows at a moment, for people who look: read without any effect, where attributes may have one
 * (KVM_XEN_VCPU_GET_ATTR of TIMER delivers what waits). Objects and bytes are copies.
 */

/** An area that guest and KVM share; undefined where none is registered. */
export interface SharedAreaView {
  /** Guest-physical address; undefined when it was given as a host address. */
  readonly gpa: bigint | undefined;
  /** That host address: an offset in linear memory; 0 when it was not given as one. */
  readonly hva: number;
  /** Its bytes; undefined while there is no memory for it. */
  readonly bytes: Uint8Array | undefined;
}

/** A port whose EVTCHNOP_send KVM answers itself. */
export interface EvtchnRouteView {
  readonly sendPort: number;
  /** EVTCHNSTAT_* number. */
  readonly type: number;
  /** Where it is delivered; undefined for an eventfd. */
  readonly to: { readonly port: number; readonly vcpu: number } | undefined;
}

/** Of one vCPU. */
export interface XenVcpuView {
  /** KVM's vcpu_id. */
  readonly id: number;
  /** Attribute VCPU_ID. */
  readonly xenId: number;
  /** One of KVM's MP states. */
  readonly mpState: number;
  readonly vcpuInfo: SharedAreaView | undefined;
  readonly timeInfo: SharedAreaView | undefined;
  /** Its bytes when the area lies in one page. */
  readonly runstateArea: SharedAreaView | undefined;
  /** The account: state, when it was entered (kvmclock), and times in running, runnable, blocked, offline. */
  readonly runstate: {
    readonly state: number;
    readonly entryTime: bigint;
    readonly times: readonly [bigint, bigint, bigint, bigint];
  };
  /** Attribute UPCALL_VECTOR. */
  readonly upcallVector: number;
  /** Attribute TIMER; `pending`: it has fired and could not be delivered yet. */
  readonly timer: { readonly port: number; readonly expires: bigint; readonly pending: boolean };
  /** Selector bits that wait until vcpu_info is at hand. */
  readonly shadowSelector: bigint;
  /** The port that SCHEDOP_poll waits for; -1 for several, undefined for none. */
  readonly pollPort: number | undefined;
}

/** Of a VM. */
export interface XenVmView {
  /** Nanoseconds of the machine's clock, and of kvmclock. */
  readonly time: number;
  readonly kvmclock: bigint;
  /** KVM_XEN_HVM_CONFIG. */
  readonly flags: number;
  readonly hypercallMsr: number;
  readonly longMode: boolean;
  readonly upcallVector: number;
  readonly xenVersion: number;
  readonly runstateUpdateFlag: boolean;
  readonly sharedInfo: SharedAreaView | undefined;
  readonly evtchns: readonly EvtchnRouteView[];
  readonly vcpus: readonly XenVcpuView[];
}
