import { constants } from "node:os";

const TERMINATING = ["SIGTERM", "SIGINT", "SIGHUP"] as const;

/** What to do when this process is asked to end or is continued. */
export interface SignalHandlers {
  /** Asked to end, for the first time; `status` is the exit status by which shells know the signal. */
  onTerminate(signal: string, status: number): void;
  /** Asked again: leave at once. */
  onImpatient(status: number): void;
  /** Continued after a stop. */
  onContinue(): void;
}

/** Listens for signals until the returned function is called. */
export function listenForSignals(handlers: SignalHandlers): () => void {
  let asked = false;
  const terminate = (signal: NodeJS.Signals) => {
    const status = 128 + constants.signals[signal];
    if (asked) return handlers.onImpatient(status);
    asked = true;
    handlers.onTerminate(signal, status);
  };
  const goOn = () => handlers.onContinue();
  for (const signal of TERMINATING) process.on(signal, terminate);
  process.on("SIGCONT", goOn);
  return () => {
    for (const signal of TERMINATING) process.off(signal, terminate);
    process.off("SIGCONT", goOn);
  };
}
