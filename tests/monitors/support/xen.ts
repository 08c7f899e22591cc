/** What tests of Xen guests in QEMU 10 share: its options. */

/** The accelerator that emulates Xen. */
export const XEN = "kvm,xen-version=0x40011,kernel-irqchip=split";
/** A PV disk of QEMU's backend. */
export const pvDisk = (disk: string) => ["-drive", `file=${disk},if=xen,format=raw`];
export const noCard = ["-nic", "none"];
export const pvCard = ["-nic", "user,model=xen-net-device"];
/** QEMU 10.0 ends with SIGSEGV when it clears a xen-net-device away (in qemu_del_nic). */
export const WITH_CARD = [0, 139];
