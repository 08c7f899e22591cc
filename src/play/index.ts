/** Plays scenario files through the binary interface. */
export { type PlaySurroundings, playScenario } from "./play.js";
