/** A live look at a machine, or at the VMs of `exec`: what is shown, how it crosses to a page, and what a page may ask. */
export {
  type AttrAnswer,
  attributeHints,
  attributeText,
  hvmAttributes,
  parseHvmAttr,
  parseVcpuAttr,
  vcpuAttributes,
} from "./attributes.js";
export { checkMessage } from "./check.js";
export {
  type Every,
  Inspection,
  type InspectOutput,
  type InspectTarget,
} from "./inspection.js";
export { machineTarget } from "./machine-target.js";
export type * from "./protocol.js";
export { chunkFromBytes, chunkToBytes, fromText, toText } from "./wire.js";
