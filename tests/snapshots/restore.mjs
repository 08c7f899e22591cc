// @ts-check
/** Restores a machine and prints what it writes until a pattern comes: restore.mjs FILE PATTERN */
import { createMachine, TextConsole } from "../../dist/hosts/node/index.js";

const [restore = "", pattern = ""] = process.argv.slice(2);
const console_ = new TextConsole((text) => process.stdout.write(text));
const machine = await createMachine({ restore, console: console_, clock: "virtual" });
const ended = machine.run();
await console_.waitFor(new RegExp(pattern));
machine.stop();
await ended;
