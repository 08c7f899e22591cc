import { timingSafeEqual } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import { gzipSync } from "node:zlib";
import { HostError } from "../../base/index.js";
import { refuseUpgrade, WebSocketPeer } from "./websocket.js";

/** Answers one request. */
export type PageRoute = (request: IncomingMessage, response: ServerResponse) => void;

/** What is served, and to whom. */
export interface PageServerOptions {
  /** The folder of the page's files, which are read once. */
  readonly folder: string;
  /** Port on the loopback interface; 0 takes a free one. */
  readonly port: number;
  /** Answers besides the files, by path from the page's own, such as `guest/debian.json`. */
  readonly routes?: ReadonlyMap<string, PageRoute>;
  /** Who takes WebSockets, by path from the page's own. */
  readonly sockets?: ReadonlyMap<string, (peer: WebSocketPeer) => void>;
  /** Origins of other pages that may ask, such as `http://127.0.0.1:5173`. */
  readonly allowOrigins?: readonly string[];
  /** The first part of every path, without which nothing is answered. */
  readonly token?: string;
}

interface PageFile {
  readonly type: string;
  readonly plain: Buffer;
  readonly gzip: Buffer;
  /** Made when the page was built, where it is smaller. */
  readonly brotli: Buffer | undefined;
}

const types: Readonly<Record<string, string>> = {
  html: "text/html; charset=utf-8",
  js: "text/javascript; charset=utf-8",
  css: "text/css; charset=utf-8",
  wasm: "application/wasm",
  md: "text/plain; charset=utf-8",
};

/** Names under which a browser of this machine reaches it: others may be a rebound name of a stranger's page. */
const LOOPBACK = /^(localhost|127\.0\.0\.1|\[::1\])(:\d+)?$/;

/** On every answer. With the first two, the page's clock has steps of 5 µs in place of 100. */
const HEADERS = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
  "Cross-Origin-Resource-Policy": "same-origin",
  "X-Content-Type-Options": "nosniff",
  "Referrer-Policy": "no-referrer",
  "Content-Security-Policy":
    "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self' data: ws://127.0.0.1:*; frame-ancestors 'none'",
};

/** Bytes of headers of a request. @limit client | headers of a request to the page's server | bytes | status 431 */
const MAX_HEADERS = 16 << 10;

/** @limit client | connections to the page's server at a time | connections | further ones are closed at once */
const MAX_CONNECTIONS = 256;

/** Serves the page on the loopback interface. */
export class PageServer {
  /** Address of the page. */
  readonly address: string;
  readonly #server: Server;
  /** Connections that are no longer the server's own. */
  readonly #upgraded: ReadonlySet<Duplex>;

  private constructor(server: Server, upgraded: ReadonlySet<Duplex>, address: string) {
    this.#server = server;
    this.#upgraded = upgraded;
    this.address = address;
  }

  /**
   * Reads the files and listens.
   * @throws HostError NOT_BUILT when there are no files; PORT_UNUSABLE when the port cannot be listened on.
   */
  static async open(options: PageServerOptions): Promise<PageServer> {
    const files = await readFiles(options.folder);
    const prefix = options.token === undefined ? "/" : `/${options.token}/`;
    const server = createServer({ maxHeaderSize: MAX_HEADERS }, (request, response) =>
      answer(request, response, files, { ...options, prefix }),
    );
    server.maxConnections = MAX_CONNECTIONS;
    const upgraded = new Set<Duplex>();
    server.on("upgrade", (request, stream, head) => {
      upgraded.add(stream);
      stream.once("close", () => upgraded.delete(stream));
      const [path = ""] = (request.url ?? "").split("?");
      const socket = options.sockets?.get(path.slice(prefix.length));
      if (whyRefused(request, path, { ...options, prefix }) !== undefined) {
        refuseUpgrade(stream, 403, "Forbidden");
      } else if (socket === undefined) refuseUpgrade(stream, 404, "Not Found");
      else {
        const peer = WebSocketPeer.accept(request, stream, head);
        if (peer !== undefined) socket(peer);
      }
    });
    await new Promise<void>((resolve, reject) => {
      server.once("error", (cause) => {
        const message = `port ${options.port} cannot be used: ${cause.message}`;
        reject(new HostError("PORT_UNUSABLE", message, { cause }));
      });
      server.listen(options.port, "127.0.0.1", resolve);
    });
    const bound = server.address();
    const port = typeof bound === "object" && bound !== null ? bound.port : options.port;
    return new PageServer(server, upgraded, `http://127.0.0.1:${port}${prefix}`);
  }

  /** Ends all connections. */
  async close(): Promise<void> {
    this.#server.closeAllConnections();
    for (const stream of this.#upgraded) stream.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

async function readFiles(folder: string): Promise<Map<string, PageFile>> {
  const files = new Map<string, PageFile>();
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(
    (cause: unknown) => {
      throw new HostError("NOT_BUILT", `${folder} is missing: run 'npm run build'`, { cause });
    },
  );
  for (const entry of entries) {
    if (!entry.isFile() || entry.name.endsWith(".br")) continue;
    const path = join(entry.parentPath, entry.name);
    const plain = await readFile(path);
    const type = types[entry.name.replace(/.*\./, "")] ?? "application/octet-stream";
    const name = path.slice(folder.length + 1).replaceAll("\\", "/");
    files.set(name, { type, plain, gzip: gzipSync(plain), brotli: await packed(path) });
  }
  return files;
}

const packed = (path: string): Promise<Buffer | undefined> =>
  readFile(`${path}.br`).catch(() => undefined);

function answer(
  request: IncomingMessage,
  response: ServerResponse,
  files: ReadonlyMap<string, PageFile>,
  options: Access & Pick<PageServerOptions, "routes">,
): void {
  for (const [name, value] of Object.entries(HEADERS)) response.setHeader(name, value);
  const [path = ""] = (request.url ?? "").split("?");
  const stranger = whyRefused(request, path, options);
  const { prefix, routes = new Map<string, PageRoute>() } = options;
  const name = path.slice(prefix.length) || "index.html";
  const route = routes.get(name);
  const file = files.get(name);
  const { method } = request;
  if (stranger !== undefined) refuse(response, 403, stranger);
  else if (route !== undefined) route(request, response);
  else if (method !== "GET" && method !== "HEAD") refuse(response, 405, "GET or HEAD");
  else if (file === undefined) refuse(response, 404, "not found");
  else sendFile(request, response, name, file);
}

/** Who is answered. */
type Access = Pick<PageServerOptions, "allowOrigins"> & { readonly prefix: string };

/** Why somebody is not answered; undefined for those who are. */
function whyRefused(
  request: IncomingMessage,
  path: string,
  { prefix, allowOrigins = [] }: Access,
): string | undefined {
  const { host = "", origin } = request.headers;
  if (!LOOPBACK.test(host)) return "this server answers to loopback names";
  const isOther = origin !== undefined && origin !== `http://${host}`;
  if (isOther && !allowOrigins.includes(origin)) return "a page of another origin asks";
  return startsWith(path, prefix) ? undefined : "the address has no valid token";
}

/** As String.startsWith, in a time that does not depend on how much is right. */
function startsWith(path: string, prefix: string): boolean {
  const [given, wanted] = [Buffer.from(path.slice(0, prefix.length)), Buffer.from(prefix)];
  return given.length === wanted.length && timingSafeEqual(given, wanted);
}

function sendFile(
  request: IncomingMessage,
  response: ServerResponse,
  name: string,
  file: PageFile,
): void {
  const accepted = request.headers["accept-encoding"] ?? "";
  const { brotli } = file;
  const [encoding, body] =
    brotli !== undefined && /\bbr\b/.test(accepted)
      ? ["br", brotli]
      : /\bgzip\b/.test(accepted)
        ? ["gzip", file.gzip]
        : [undefined, file.plain];
  response.setHeader("Content-Type", file.type);
  response.setHeader("Content-Length", body.length);
  response.setHeader("Vary", "Accept-Encoding");
  // Files in assets/ have what is in them in their names.
  const isFixed = name.startsWith("assets/");
  response.setHeader("Cache-Control", isFixed ? "max-age=31536000, immutable" : "no-cache");
  if (encoding !== undefined) response.setHeader("Content-Encoding", encoding);
  response.end(request.method === "HEAD" ? undefined : body);
}

function refuse(response: ServerResponse, status: number, text: string): void {
  response.statusCode = status;
  response.setHeader("Content-Type", "text/plain; charset=utf-8");
  response.end(`${text}\n`);
}
