import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { openConsolePort, openConsolePorts, openPortStream } from "./console-ports.js";

const folder = mkdtempSync(join(tmpdir(), "kvm-xen-port-"));
afterAll(() => rmSync(folder, { recursive: true }));
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const at = (name: string): string => join(folder, name);
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 2));
}

describe("a console beside hvc0", () => {
  it("in a file is what the guest has written, when it is closed", async () => {
    const { stream, close } = await openPortStream({ number: 1, file: at("out") });
    stream.write(bytes("first\n"));
    stream.write(bytes("second\n"));
    await close();
    expect(readFileSync(at("out"), "utf8")).toBe("first\nsecond\n");
  });

  it("at a socket has one who reads and types at a time, and only its user", async () => {
    const path = at("sock");
    const { stream, close } = await openPortStream({ number: 1, socket: path });
    let typed = "";
    stream.onData((data) => {
      typed += Buffer.from(data);
    });
    expect(statSync(path).mode & 0o777).toBe(0o600);
    // Nobody is there: it is lost.
    stream.write(bytes("lost"));
    let got = "";
    const join1 = (): Socket =>
      connect(path).on("data", (data) => {
        got += data;
      });
    const one = join1();
    one.write("typed");
    await until(() => typed === "typed");
    stream.write(bytes("seen"));
    await until(() => got === "seen");
    const other = connect(path);
    await new Promise((resolve) => other.on("close", resolve));
    const gone = new Promise((resolve) => one.on("close", resolve));
    one.end();
    await gone;
    const again = join1();
    await new Promise((resolve) => again.once("connect", resolve));
    await until(() => {
      stream.write(bytes("x"));
      return got.endsWith("x");
    });
    await close();
    expect(existsSync(path)).toBe(false);
  });

  it("makes the guest wait for one who does not read", async () => {
    const path = at("slow");
    const { stream, close } = await openPortStream({ number: 1, socket: path });
    const reader = connect(path);
    await new Promise((resolve) => reader.once("connect", resolve));
    reader.pause();
    await until(() => stream.isTaken);
    let isTold = false;
    stream.onRoom(() => {
      isTold = true;
    });
    // The socket's own buffers take some; then it stands still.
    const block = new Uint8Array(2048);
    let sent = 0;
    while (stream.room > 0) {
      stream.write(block.subarray(0, stream.room));
      sent += block.length;
      expect(sent).toBeLessThan(1 << 24);
      await new Promise((resolve) => setImmediate(resolve));
    }
    reader.resume();
    await until(() => isTold);
    expect(stream.room).toBeGreaterThan(0);
    reader.destroy();
    await close();
  });

  it("that cannot be had is one line, and the others are closed", async () => {
    const option = { number: 2, socket: at("none/x.sock") };
    await expect(openConsolePort(option)).rejects.toMatchObject({ code: "PORT_UNUSABLE" });
    await expect(openConsolePort({ number: 1, file: folder })).rejects.toThrow(
      `--port hvc1: ${folder}: it is a folder`,
    );
    const first = { number: 1, socket: at("first.sock") };
    await expect(openConsolePorts([first, option])).rejects.toThrow("--port hvc2");
    expect(existsSync(first.socket)).toBe(false);
  });
});
