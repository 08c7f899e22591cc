export { GuestMemory, type MemoryRegion } from "./guest-memory.js";
export { LinearMemory } from "./linear-memory.js";
