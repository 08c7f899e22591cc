import { cacheRoot } from "../../hosts/node/cache.js";
import { RelayServer } from "../../hosts/node/relay/relay.js";
import {
  debianRoutes,
  openBrowser,
  PAGE_FOLDER,
  untilSignal,
  type WebHost,
} from "./web-command.js";

/** The options of `kvm-xen relay`. */
export interface RelayCommandOptions {
  readonly port: number;
  /** Open the page in the browser of this system. */
  readonly open?: boolean;
  readonly allowOrigin: readonly string[];
}

/**
 * `kvm-xen relay`: serves the page, and a network for the machines in it, until a signal comes.
 * @returns the exit status.
 * @throws HostError NO_LIBSLIRP, NOT_BUILT or PORT_UNUSABLE.
 */
export async function serveRelay(options: RelayCommandOptions, host: WebHost): Promise<number> {
  const { port, allowOrigin: allowOrigins } = options;
  const log = {
    warn: (text: string) => void host.error.write(`kvm-xen: ${text}\n`),
    debug: () => undefined,
  };
  const routes = await debianRoutes(cacheRoot());
  const server = await RelayServer.open({ port, allowOrigins, folder: PAGE_FOLDER, routes, log });
  host.output.write(Buffer.from(`${server.pageAddress}\n${server.address}\n`));
  if (options.open) openBrowser(server.pageAddress, host.error);
  const status = await untilSignal(host);
  await server.close();
  return status;
}
