/**
 * Distinct types for numbers that must not be mixed up. A branded number is a plain number at run
 * time; the brand exists for the compiler only. Conversions are the functions below: they say in
 * the code where a number gets its meaning.
 */
declare const brand: unique symbol;
type Branded<Base, Name extends string> = Base & { readonly [brand]: Name };

/** Guest-physical address, 0 to 2^52 - 1. */
export type Gpa = Branded<number, "Gpa">;
/** Guest-virtual (linear) address, 64 bits. */
export type Gva = Branded<bigint, "Gva">;
/** Guest frame number: a guest-physical address divided by 4096. */
export type Gfn = Branded<number, "Gfn">;
/** Host virtual address of a VM's memory: an offset in its linear memory, below 2^32. */
export type Hva = Branded<number, "Hva">;
/** Event channel port, 1 to 4095 (64-bit guests) or 1023 (32-bit guests); 0 is never valid. */
export type EvtchnPort = Branded<number, "EvtchnPort">;
/** Event channel port of a backend, which is in another domain (0): the guest's port has its number as remote port. */
export type BackendEvtchnPort = Branded<number, "BackendEvtchnPort">;
/** Number of an entry of a guest's grant table. */
export type GrantRef = Branded<number, "GrantRef">;
/** Creation order of a vCPU in its VM, from 0 (the kernel's vcpu_idx). */
export type VcpuIndex = Branded<number, "VcpuIndex">;
/** Local APIC id, which is the id given to KVM_CREATE_VCPU (the kernel's vcpu_id). */
export type ApicId = Branded<number, "ApicId">;
/** The number by which a Xen guest names a vCPU in hypercalls (KVM_XEN_VCPU_ATTR_TYPE_VCPU_ID). */
export type XenVcpuId = Branded<number, "XenVcpuId">;

/** Gives a number the meaning of a guest-physical address. */
export const gpa = (value: number): Gpa => value as Gpa;
/** Gives a number the meaning of a guest-virtual address; taken modulo 2^64. */
export const gva = (value: bigint): Gva => BigInt.asUintN(64, value) as Gva;
/** Gives a number the meaning of a guest frame number. */
export const gfn = (value: number): Gfn => value as Gfn;
/** Gives a number the meaning of an offset in linear memory. */
export const hva = (value: number): Hva => value as Hva;
/** Gives a number the meaning of an event channel port. */
export const evtchnPort = (value: number): EvtchnPort => value as EvtchnPort;
/** Gives a number the meaning of a backend's event channel port. */
export const backendEvtchnPort = (value: number): BackendEvtchnPort => value as BackendEvtchnPort;
/** Gives a number the meaning of a grant reference. */
export const grantRef = (value: number): GrantRef => value as GrantRef;
/** Gives a number the meaning of a vCPU's creation order. */
export const vcpuIndex = (value: number): VcpuIndex => value as VcpuIndex;
/** Gives a number the meaning of a local APIC id. */
export const apicId = (value: number): ApicId => value as ApicId;
/** Gives a number the meaning of a Xen vCPU id. */
export const xenVcpuId = (value: number): XenVcpuId => value as XenVcpuId;

/** Size of a guest page and of a frame, in bytes. */
export const PAGE_SIZE = 4096;
/** The frame that holds a guest-physical address. */
export const gpaToGfn = (address: Gpa): Gfn => Math.floor(address / PAGE_SIZE) as Gfn;
/** The first address of a frame. */
export const gfnToGpa = (frame: Gfn): Gpa => (frame * PAGE_SIZE) as Gpa;
