export { GuestMemory, type MemoryRegion } from "./guest-memory.js";
export { LinearMemory, type MemoryOwner, PageAccess } from "./linear-memory.js";
