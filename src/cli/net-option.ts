/** `--net KIND[,OPTION...]`. */
import { HostError } from "../base/index.js";
import type { NetOption, UserForward } from "../hosts/node/index.js";
import { checkMac, MAX_CARDS } from "../vmm/machine/index.js";

const KINDS = "user, passt, tap=NAME, socket=PATH and sim are";
/** What Linux lets an interface be called: up to 15 characters. */
const INTERFACE = /^[^\s/%:]{1,15}$/;
const EXAMPLE = "hostfwd=tcp:127.0.0.1:2222-:22 is one";

const refuse = (text: string, problem: string): HostError =>
  new HostError("USAGE", `--net ${text}: ${problem}`);

/** Reads one `--net`. @throws HostError USAGE when it makes no sense; MAC_ADDRESS. */
export function parseNet(text: string): NetOption {
  const [kind = "", ...words] = splitPath(text);
  const options = new Map<string, string[]>();
  for (const word of words) {
    const [, name = "", value = ""] = /^([^=]*)=?(.*)$/.exec(word) ?? [];
    options.set(name, [...(options.get(name) ?? []), value]);
  }
  const take = (name: string): string | undefined => {
    const [value, another] = options.get(name) ?? [];
    if (another !== undefined) throw refuse(text, `${name} is there twice`);
    options.delete(name);
    return value;
  };
  const mac = take("mac");
  const card = {
    ...(mac === undefined ? {} : { mac: checkMac(mac) }),
    ...readKind(text, kind, options, take),
  };
  const [unknown] = options.keys();
  if (unknown !== undefined) throw refuse(text, `'${unknown}' is no option of it`);
  return card;
}

/** Its words; the path of a socket may have commas, but no option of a card in it. */
function splitPath(text: string): string[] {
  if (!text.startsWith("socket=")) return text.split(",");
  const mac = /,mac=[^,]*$/.exec(text);
  return mac === null ? [text] : [text.slice(0, mac.index), mac[0].slice(1)];
}

function readKind(
  text: string,
  kind: string,
  options: Map<string, string[]>,
  take: (name: string) => string | undefined,
): NetOption {
  if (kind === "user" || kind === "passt") {
    const forwards = (options.get("hostfwd") ?? []).map((value) => readForward(text, value));
    options.delete("hostfwd");
    if (kind === "passt") {
      if (forwards.some(({ guestAddress }) => guestAddress !== "")) {
        throw refuse(text, "a hostfwd of passt names no address of the guest: it has the host's");
      }
      return { kind, forwards };
    }
    const loopback = take("hostloopback") ?? "off";
    if (loopback !== "on" && loopback !== "off") throw refuse(text, "hostloopback is on or off");
    return { kind: "user", forwards, hostLoopback: loopback === "on" };
  }
  if (kind === "sim") {
    const loss = Number(take("loss") ?? "0");
    if (!(loss >= 0 && loss < 1)) throw refuse(text, "loss is a share from 0 to below 1");
    return { kind: "sim", loss };
  }
  if (kind.startsWith("tap=")) {
    const name = kind.slice(4);
    if (!INTERFACE.test(name)) throw refuse(text, `'${name}' is no name of an interface`);
    return { kind: "tap", name };
  }
  if (/^socket=./s.test(kind)) return { kind: "socket", path: kind.slice(7) };
  throw refuse(text, `'${kind}' is no network: ${KINDS}`);
}

/** PROTOCOL:[ADDRESS]:PORT-[ADDRESS]:PORT, as QEMU has it. */
function readForward(text: string, value: string): UserForward {
  const parts = /^(tcp|udp|):([^:]*):(\d+)-([^:]*):(\d+)$/.exec(value);
  const [, protocol, hostAddress = "", host, guestAddress = "", guest] = parts ?? [];
  const [hostPort, guestPort] = [Number(host), Number(guest)];
  const isPort = (port: number): boolean => port >= 1 && port <= 0xffff;
  const isAddress = (address: string): boolean =>
    address === "" ||
    (/^\d{1,3}(\.\d{1,3}){3}$/.test(address) &&
      address.split(".").every((part) => Number(part) < 256));
  if (
    parts === null ||
    !isPort(hostPort) ||
    !isPort(guestPort) ||
    ![hostAddress, guestAddress].every(isAddress)
  ) {
    throw refuse(text, `hostfwd=${value} makes no sense: ${EXAMPLE}`);
  }
  const isUdp = protocol === "udp";
  return { protocol: isUdp ? "udp" : "tcp", hostAddress, hostPort, guestAddress, guestPort };
}

/** Reads all cards of a command line. @throws HostError of {@link parseNet}; NET_CARDS for too many. */
export function parseNets(texts: readonly string[]): NetOption[] {
  if (texts.length > MAX_CARDS) {
    throw new HostError("NET_CARDS", `a machine has at most ${MAX_CARDS} network cards`);
  }
  return texts.map(parseNet);
}
