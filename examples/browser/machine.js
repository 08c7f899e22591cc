import { Machine } from "kvm-xen";
import coreAddress from "kvm-xen/core.wasm?url";
import { Engine } from "kvm-xen/engine";
import * as browser from "kvm-xen/hosts/browser";
import imageAddress from "../../guest/embedded/image.elf?url";

const bytes = async (address) => new Uint8Array(await (await fetch(address)).arrayBuffer());
const clock = new browser.BrowserClock();
const text = new TextDecoder();
const machine = await Machine.create(
  {
    kernel: await bytes(imageAddress),
    commandLine: "",
    memoryBytes: 64 << 20,
    cpus: 1,
    console: "hvc0",
  },
  {
    engine: await Engine.compile(await bytes(coreAddress)),
    decompressors: browser.browserDecompressors,
    clock,
    timers: new browser.BrowserTimers(clock),
    loop: new browser.BrowserLoop(),
    entropy: browser.browserEntropy,
    log: { warn: postMessage, debug() {} },
    console: { write: (output) => postMessage(text.decode(output)), onData() {} },
  },
);
clock.work = () => machine.instructions;
const end = await machine.run();
postMessage(`the machine has ended: ${end.kind}\n`);
