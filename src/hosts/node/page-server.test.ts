import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { brotliCompressSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { PageServer } from "./page-server.js";

const LONG = "export const long = 1;\n".repeat(100);
const TOKEN = "0123456789abcdef0123456789abcdef";

let folder: string;
let open: PageServer;
let closed: PageServer;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "kvm-xen-page-"));
  writeFileSync(join(folder, "secret.txt"), "secret");
  const page = join(folder, "page");
  mkdirSync(join(page, "assets"), { recursive: true });
  writeFileSync(join(page, "index.html"), "<p>page");
  writeFileSync(join(page, "assets/a.js"), "export {};");
  writeFileSync(join(page, "assets/b.js"), LONG);
  writeFileSync(join(page, "assets/b.js.br"), brotliCompressSync(LONG));
  const routes = new Map([
    [
      "events",
      (_: unknown, response: { end(text: string): unknown }) => {
        response.end("events");
      },
    ],
  ]);
  open = await PageServer.open({ folder: page, port: 0 });
  closed = await PageServer.open({ folder: page, port: 0, token: TOKEN, routes });
});
afterAll(async () => {
  await Promise.all([open.close(), closed.close()]);
  rmSync(folder, { recursive: true });
});

/** Asks as no browser would: the path as it is, and any header. */
function ask(
  server: PageServer,
  path: string,
  headers: Record<string, string> = {},
  method = "GET",
): Promise<{ status: number | undefined; text: string }> {
  const { port } = new URL(server.address);
  return new Promise((resolve, reject) => {
    const options = { host: "127.0.0.1", port, path, method, headers };
    const sent = request(options, (response) => {
      let text = "";
      response.on("data", (bytes: Buffer) => {
        text += bytes;
      });
      response.on("end", () => resolve({ status: response.statusCode, text }));
    });
    sent.on("error", reject);
    sent.end();
  });
}

describe("the page's server", () => {
  it("sends what was packed when the page was built, to those who can read it", async () => {
    const encodings = await Promise.all(
      ["gzip, deflate, br", "gzip", "identity"].map(async (accepted) => {
        const headers = { "Accept-Encoding": accepted };
        const answer = await fetch(`${open.address}assets/b.js`, { headers });
        expect(await answer.text()).toBe(LONG);
        return answer.headers.get("content-encoding");
      }),
    );
    expect(encodings).toEqual(["br", "gzip", null]);
    expect((await ask(open, "/assets/b.js.br")).status).toBe(404);
  });

  it("gives the page and its files, and nothing else of the disk", async () => {
    expect(await ask(open, "/")).toEqual({ status: 200, text: "<p>page" });
    expect(await ask(open, "/assets/a.js?v=1")).toEqual({ status: 200, text: "export {};" });
    for (const path of ["/../secret.txt", "/assets/../../secret.txt", "/%2e%2e/secret.txt"]) {
      expect((await ask(open, path)).status, path).toBe(404);
    }
    expect((await ask(open, "/", {}, "POST")).status).toBe(405);
    expect(await ask(open, "/", {}, "HEAD")).toEqual({ status: 200, text: "" });
  });

  it("answers to loopback names only: a stranger's name may lead here", async () => {
    for (const name of ["localhost", "127.0.0.1:99", "[::1]"]) {
      expect((await ask(open, "/", { host: name })).status, name).toBe(200);
    }
    for (const name of ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "x"]) {
      expect((await ask(open, "/", { host: name })).status, name).toBe(403);
    }
  });

  it("answers no page of another origin", async () => {
    const { host } = new URL(open.address);
    expect((await ask(open, "/", { origin: `http://${host}` })).status).toBe(200);
    for (const origin of ["http://evil.example", `https://${host}`, "http://127.0.0.1:1", "null"]) {
      expect((await ask(open, "/", { origin })).status, origin).toBe(403);
    }
  });

  it("with a token, answers nobody who does not have it", async () => {
    expect(new URL(closed.address).pathname).toBe(`/${TOKEN}/`);
    expect(await ask(closed, `/${TOKEN}/events`)).toEqual({ status: 200, text: "events" });
    const wrong = TOKEN.replace(/f$/, "e");
    for (const path of ["/", "/events", `/${wrong}/events`, `/${TOKEN}`, `/${TOKEN.slice(1)}/`]) {
      expect((await ask(closed, path)).status, path).toBe(403);
    }
  });

  it("has room for so many at a time, and closes further ones", async () => {
    const server = await PageServer.open({ folder: join(folder, "page"), port: 0 });
    const { port } = new URL(server.address);
    const sockets = Array.from({ length: 300 }, () => connect(Number(port), "127.0.0.1"));
    let ended = 0;
    for (const socket of sockets) {
      socket.on("error", () => undefined);
      socket.once("close", () => ended++);
    }
    await expect.poll(() => ended, { timeout: 10_000 }).toBe(300 - 256);
    for (const socket of sockets) socket.destroy();
    const status = async () => (await ask(server, "/").catch(() => undefined))?.status;
    await expect.poll(status, { timeout: 10_000 }).toBe(200);
    await server.close();
  });

  it("says which port cannot be used", async () => {
    const port = Number(new URL(open.address).port);
    await expect(PageServer.open({ folder, port })).rejects.toMatchObject({
      code: "PORT_UNUSABLE",
    });
    const none = PageServer.open({ folder: join(folder, "none"), port: 0 });
    await expect(none).rejects.toMatchObject({ code: "NOT_BUILT" });
  });
});
