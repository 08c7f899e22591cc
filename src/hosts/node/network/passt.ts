/** passt: a network in user space by a program of its own, which gives the guest the host's addresses. */
import { spawn } from "node:child_process";
import type { Duplex } from "node:stream";
import { HostError } from "../../../base/index.js";
import type { Log, Network } from "../../../ports/index.js";
import type { UserForward } from "./network-thread.js";
import { StreamNetwork } from "./stream-network.js";

/** Milliseconds in which it says no, if it does. */
const START_MS = 300;
const NAME = "--net passt";

/** Options of passt for ports of one protocol. */
function ports(option: string, forwards: readonly UserForward[]): string[] {
  const specs = forwards.map(({ hostAddress, hostPort, guestPort }) => {
    const address = hostAddress === "" ? "" : `${hostAddress}/`;
    return `${address}${hostPort}:${guestPort}`;
  });
  return (specs.length > 0 ? specs : ["none"]).flatMap((spec) => [option, spec]);
}

/**
 * Starts passt, which ends with the network. The guest gets no route to the host's loopback interface.
 * @throws HostError NO_PASST when it is not installed; NET_UNUSABLE when it refuses.
 */
export async function openPasstNetwork(
  forwards: readonly UserForward[],
  log: Log,
  program = "passt",
): Promise<Network> {
  // The descriptor is a socket, whose other end is ours: nobody else can connect. A larger MTU than Ethernet's would
  // need a guest that obeys.
  const args = [
    ...["--foreground", "--fd", "3", "--mtu", "1500", "--no-map-gw"],
    ...ports(
      "--tcp-ports",
      forwards.filter(({ protocol }) => protocol === "tcp"),
    ),
    ...ports(
      "--udp-ports",
      forwards.filter(({ protocol }) => protocol === "udp"),
    ),
  ];
  const child = spawn(program, args, { stdio: ["ignore", "ignore", "pipe", "pipe"] });
  let complaint = "";
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    complaint = (complaint + text).slice(-4000);
  });
  const over = new Promise<NodeJS.ErrnoException | undefined>((resolve) => {
    child.on("error", resolve);
    child.on("close", () => resolve(undefined));
  });
  const started = new Promise<"started">((resolve) => setTimeout(resolve, START_MS, "started"));
  const first = await Promise.race([over, started]);
  if (first !== "started") {
    if (first?.code === "ENOENT") {
      const message = `${NAME} needs the program passt (package passt), which is not installed`;
      throw new HostError("NO_PASST", message, { cause: first });
    }
    const why = first?.message ?? complaint.trim().split("\n").at(-1) ?? "";
    throw new HostError("NET_UNUSABLE", `${NAME}: passt has ended: ${why}`);
  }
  const network = new StreamNetwork(NAME, log, async () => {
    await over;
  });
  network.connect(child.stdio[3] as Duplex);
  return network;
}
