/** A machine's ports in a browser, for a Web Worker that runs one. */
export { RealTimers as BrowserTimers } from "../shared/timers.js";
export { ChangesFile, type SyncFile } from "./changes-file.js";
export { BrowserClock } from "./clock.js";
export { browserDecompressors } from "./decompress.js";
export { blobDisk } from "./disks.js";
export { browserEntropy } from "./entropy.js";
export { type LastingDiskOptions, lastingDisk } from "./lasting-disk.js";
export { BrowserLoop } from "./loop.js";
export { RelayNetwork } from "./relay-network.js";
export { BlobSink, BlobSource } from "./snapshots.js";
