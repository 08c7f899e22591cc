/** The releases of Linux that were asked: spec/kvm/releases.mjs has what each of them does. */
export const LINUX_RELEASES = ["6.12", "7.2"] as const;

/** A release whose KVM can be followed. */
export type LinuxRelease = (typeof LINUX_RELEASES)[number];
