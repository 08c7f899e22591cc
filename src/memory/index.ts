export { GuestMemory, type MemoryRegion } from "./guest-memory.js";
export { LinearMemory, type MemoryOwner } from "./linear-memory.js";
