/** Ethernet addresses of cards. */
import { HostError } from "../../../../base/index.js";
import type { Entropy } from "../../../../ports/index.js";

/**
 * Cards of a machine.
 * @limit user | network cards of a machine | cards | NET_CARDS, status 1
 */
export const MAX_CARDS = 16;

/** Checks an address of one card, such as `00:16:3e:12:34:56`. @throws HostError MAC_ADDRESS. */
export function checkMac(text: string): string {
  const isMac = /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(text);
  // The lowest bit of the first byte is that of groups.
  if (!isMac || (Number.parseInt(text.slice(0, 2), 16) & 1) !== 0 || /^[0:]+$/.test(text)) {
    const example = "00:16:3e:12:34:56 is one";
    throw new HostError(
      "MAC_ADDRESS",
      `${text || "''"} is no Ethernet address of a card: ${example}`,
    );
  }
  return text.toLowerCase();
}

/** A random address from Xen's range. */
export function randomMac(entropy: Entropy): string {
  const bytes = new Uint8Array(3);
  entropy.fill(bytes);
  bytes[0] = (bytes[0] as number) & 0x7f;
  return [
    "00",
    "16",
    "3e",
    ...Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")),
  ].join(":");
}
