import { debianGuest } from "../../boot/support/guests.js";
import { kernel, qemu10, xenShim } from "./packages.js";

/** Fetches what several files of tests use, before any of them runs: once, not by each of them at once. */
export async function setup(): Promise<void> {
  await debianGuest();
  for (const series of ["6.1", "6.12"] as const) await kernel(series);
  await qemu10();
  await xenShim("6.1");
}
