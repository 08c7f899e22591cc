import { existsSync, linkSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, expect, it } from "vitest";
import { LineServer } from "./line-server.js";

const folder = mkdtempSync(join(tmpdir(), "kvm-xen-lines-"));
afterAll(() => rmSync(folder, { recursive: true }));
let count = 0;
const newPath = (): string => join(folder, `${count++}.sock`);

const servers: LineServer[] = [];
afterEach(async () => {
  for (const server of servers.splice(0)) await server.close();
});

async function listen(path: string, answer = async (line: string) => `<${line}>`) {
  const server = await LineServer.listen(path, answer);
  servers.push(server);
  return server;
}

/** A client: what it got when the connection was over. */
function talk(path: string, send: (write: (text: string) => void) => void): Promise<string> {
  return new Promise((resolve, reject) => {
    const client = connect(path);
    let got = "";
    client.setEncoding("utf8").on("data", (text: string) => {
      got += text;
      if (got.includes("<bye>")) client.end();
    });
    client.on("error", ({ code }: NodeJS.ErrnoException) =>
      code === "EPIPE" || code === "ECONNRESET" ? undefined : reject(new Error(code)),
    );
    client.on("close", () => resolve(got));
    client.on("connect", () => send((text) => client.write(text)));
  });
}

it("answers each line, however it comes", async () => {
  const path = newPath();
  await listen(path);
  const got = await talk(path, async (write) => {
    write("a\n\nb");
    await new Promise((resolve) => setTimeout(resolve, 20));
    write("c\nbye\n");
  });
  expect(got).toBe("<a>\n<bc>\n<bye>\n");
});

it("is for this user only, and gone afterwards", async () => {
  const path = newPath();
  const server = await LineServer.listen(path, async (line) => line);
  expect(statSync(path).mode & 0o777).toBe(0o600);
  await server.close();
  expect(existsSync(path)).toBe(false);
});

it("ends although a client stays", async () => {
  const path = newPath();
  const server = await LineServer.listen(path, async (line) => line);
  const client = connect({ path, allowHalfOpen: true });
  client.on("error", () => undefined);
  await new Promise((resolve) => client.on("connect", resolve));
  await server.close();
  client.destroy();
});

it("takes the place of a socket that was left behind, and of nothing else", async () => {
  const path = newPath();
  await listen(path);
  await expect(LineServer.listen(path, async (line) => line)).rejects.toMatchObject({
    code: "SOCKET_UNUSABLE",
  });
  expect(await talk(path, (write) => write("bye\n"))).toBe("<bye>\n");
  const dead = newPath();
  // A socket file without a listener.
  const other = createServer().listen(`${dead}.x`);
  await new Promise((resolve) => other.on("listening", resolve));
  linkSync(`${dead}.x`, dead);
  await new Promise((resolve) => other.close(resolve));
  await listen(dead);
  const file = newPath();
  writeFileSync(file, "mine");
  await expect(LineServer.listen(file, async (line) => line)).rejects.toThrow(
    "a file of that name",
  );
  const none = join(folder, "none", "a.sock");
  await expect(LineServer.listen(none, async (line) => line)).rejects.toThrow("no such folder");
});

it("a line without end, and answers that nobody reads, end the connection", async () => {
  const path = newPath();
  await listen(path, async () => "x".repeat(1 << 16));
  expect(await talk(path, (write) => write("y".repeat(70_000)))).toBe("");
  const client = connect(path);
  client.on("error", () => undefined);
  client.pause();
  const closed = new Promise((resolve) => client.on("close", resolve));
  client.write("a\n".repeat(1000));
  // It reads again only when it has been hung up on: then it has got less than it asked for.
  await new Promise((resolve) => setTimeout(resolve, 200));
  let got = 0;
  client.on("data", (bytes) => {
    got += bytes.length;
  });
  client.resume();
  await closed;
  expect(got).toBeLessThan(1000 << 16);
});

it("a client gets as many requests under way as the limit says", async () => {
  const path = newPath();
  let underWay = 0;
  let most = 0;
  const waiting: (() => void)[] = [];
  await listen(path, async (line) => {
    underWay += 1;
    most = Math.max(most, underWay);
    await new Promise<void>((resolve) => {
      waiting.push(resolve);
      if (line === "bye") for (const go of waiting.splice(0)) go();
    });
    underWay -= 1;
    return `<${line}>`;
  });
  const got = await talk(path, async (write) => {
    for (let i = 0; i < 10; i++) write("a\n".repeat(10));
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(most).toBeLessThanOrEqual(164);
    for (const go of waiting.splice(0)) go();
    write("bye\n");
  });
  expect(got.split("\n").length).toBe(102);
});
