/** The releases of Linux that were asked: spec/kvm/releases.mjs has what each of them does. */
export const LINUX_RELEASES = ["6.12", "7.2"] as const;

/** A release whose KVM can be followed. */
export type LinuxRelease = (typeof LINUX_RELEASES)[number];

/** What differs between releases. A field is a row of spec/kvm/releases.mjs. */
export interface LinuxRules {
  readonly release: LinuxRelease;
  /** A vcpu_info that is not aligned by 4 is refused, before anything else. */
  readonly alignsVcpuInfo: boolean;
  /** KVM_SET_MSRS of the hypercall page MSR writes the page, not only the guest's WRMSR. */
  readonly clientWritesHypercallPage: boolean;
  /** Numbers of the hypercall page MSR lie in Xen's range. */
  readonly limitsHypercallMsr: boolean;
}

/** What a release does. */
export function linuxRules(release: LinuxRelease): LinuxRules {
  const is6 = release === "6.12";
  return { release, alignsVcpuInfo: is6, clientWritesHypercallPage: is6, limitsHypercallMsr: !is6 };
}
