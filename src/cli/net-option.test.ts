import { describe, expect, it } from "vitest";
import { parseNet, parseNets } from "./net-option.js";

const user = { kind: "user", forwards: [], hostLoopback: false };
const ssh = { protocol: "tcp", hostPort: 2222, guestAddress: "", guestPort: 22 };

describe("--net", () => {
  it.each([
    ["user", user],
    ["user,hostloopback=on", { ...user, hostLoopback: true }],
    ["user,mac=00:16:3E:00:00:01", { ...user, mac: "00:16:3e:00:00:01" }],
    [
      "user,hostfwd=tcp:127.0.0.1:2222-:22",
      { ...user, forwards: [{ ...ssh, hostAddress: "127.0.0.1" }] },
    ],
    [
      "user,hostfwd=tcp::2222-:22,hostfwd=udp::53-10.0.2.16:5353",
      {
        ...user,
        forwards: [
          { ...ssh, hostAddress: "" },
          {
            protocol: "udp",
            hostAddress: "",
            hostPort: 53,
            guestAddress: "10.0.2.16",
            guestPort: 5353,
          },
        ],
      },
    ],
    ["socket=/run/a,b=c.sock", { kind: "socket", path: "/run/a,b=c.sock" }],
    [
      "socket=a.sock,mac=00:16:3e:00:00:01",
      { kind: "socket", path: "a.sock", mac: "00:16:3e:00:00:01" },
    ],
    ["passt", { kind: "passt", forwards: [] }],
    [
      "passt,hostfwd=tcp:127.0.0.1:2222-:22",
      { kind: "passt", forwards: [{ ...ssh, hostAddress: "127.0.0.1" }] },
    ],
    ["tap=tap0", { kind: "tap", name: "tap0" }],
    ["tap=tap0,mac=00:16:3e:00:00:01", { kind: "tap", name: "tap0", mac: "00:16:3e:00:00:01" }],
    ["sim", { kind: "sim", loss: 0 }],
    ["sim,loss=0.1", { kind: "sim", loss: 0.1 }],
  ])("%s", (text, expected) => {
    expect(parseNet(text)).toEqual(expected);
  });

  it.each([
    ["", "'' is no network"],
    ["slirp", "'slirp' is no network: user, passt, tap=NAME, socket=PATH and sim are"],
    ["socket=", "'socket=' is no network"],
    ["user,restrict=on", "'restrict' is no option of it"],
    ["sim,hostfwd=tcp::1-:1", "'hostfwd' is no option of it"],
    ["user,hostloopback=yes", "hostloopback is on or off"],
    ["user,hostloopback=on,hostloopback=off", "hostloopback is there twice"],
    [
      "user,hostfwd=2222:22",
      "hostfwd=2222:22 makes no sense: hostfwd=tcp:127.0.0.1:2222-:22 is one",
    ],
    ["user,hostfwd=tcp:localhost:2222-:22", "makes no sense"],
    ["user,hostfwd=tcp::0-:22", "makes no sense"],
    ["user,hostfwd=tcp::65536-:22", "makes no sense"],
    ["user,hostfwd=sctp::2222-:22", "makes no sense"],
    ["user,hostfwd=tcp:127.0.0.1:22-300.0.0.1:22", "makes no sense"],
    ["passt,hostfwd=tcp::2222-10.0.2.15:22", "names no address of the guest"],
    ["passt,hostloopback=on", "'hostloopback' is no option of it"],
    ["tap=", "'' is no name of an interface"],
    ["tap=sixteen-letters-", "is no name of an interface"],
    ["tap=tap0,hostfwd=tcp::1-:1", "'hostfwd' is no option of it"],
    ["sim,loss=1", "loss is a share"],
    ["sim,loss=x", "loss is a share"],
  ])("refuses %s", (text, message) => {
    expect(() => parseNet(text)).toThrow(expect.objectContaining({ code: "USAGE" }));
    expect(() => parseNet(text)).toThrow(message);
  });

  it("refuses addresses of no card, and more cards than 16", () => {
    const code = (texts: string[]) => {
      try {
        return parseNets(texts).length;
      } catch (error) {
        return (error as { code: string }).code;
      }
    };
    expect(code(["user,mac=ff:ff:ff:ff:ff:ff"])).toBe("MAC_ADDRESS");
    expect(code(Array(16).fill("user"))).toBe(16);
    expect(code(Array(17).fill("user"))).toBe("NET_CARDS");
  });
});
