/** Timers on this process's clock. */
export { RealTimers as NodeTimers } from "../shared/timers.js";
