/** Words that every layer uses; nothing here knows what a VM is. */
export { assert, InvariantError, unreachable } from "./assert.js";
export { Errno, type ErrnoName, errnoName } from "./errno.js";
export { defaultEventLoop, type EventLoop } from "./event-loop.js";
export { HostError, noAddressesForVm } from "./host-error.js";
export * from "./ids.js";
export { addWords, foldChecksum } from "./internet-checksum.js";
export { LINUX_RELEASES, type LinuxRelease } from "./linux-releases.js";
