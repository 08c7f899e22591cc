/** gdb's remote protocol over a machine. */
export { MAX_PACKET } from "./packets.js";
export { type GdbConnection, type GdbMachine, GdbStub } from "./stub.js";
