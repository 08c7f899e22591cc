/** Plays scenario files through the binary interface. */

export { LINUX_RELEASES, type LinuxRelease } from "../kvm/index.js";
export { type PlaySurroundings, playScenario } from "./play.js";
