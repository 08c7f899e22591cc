/** Nodes of the store and who may use them. Nodes are never changed, only replaced. */

/** What a permission entry grants: nothing, read, write, both. */
export type Access = "n" | "r" | "w" | "b";

/** One permission entry. */
export interface Permission {
  readonly domid: number;
  readonly access: Access;
}

/** A node. The first permission names the owner, and what domains not listed may do. */
export interface StoreNode {
  readonly value: Uint8Array;
  readonly permissions: readonly [Permission, ...Permission[]];
  /** Names, in the order in which they were made. */
  readonly children: readonly string[];
  /** Differs between any two versions of any nodes. */
  readonly generation: number;
}

/** The domain that may do everything. */
export const PRIVILEGED = 0;

/** The domain that a node counts for. */
export const ownerOf = (node: StoreNode): number => node.permissions[0].domid;

/** Whether a domain is the owner, or privileged. */
export const ownsNode = (domid: number, node: StoreNode): boolean =>
  domid === PRIVILEGED || ownerOf(node) === domid;

/** Whether a domain may read or write under these permissions. */
export function permits(
  domid: number,
  permissions: StoreNode["permissions"],
  wanted: "r" | "w",
): boolean {
  if (domid === PRIVILEGED || permissions[0].domid === domid) return true;
  const entry = permissions.slice(1).find((p) => p.domid === domid) ?? permissions[0];
  return entry.access === wanted || entry.access === "b";
}

/** Permissions of a new node: the parent's, but an unprivileged maker becomes the owner. */
export function inheritPermissions(domid: number, parent: StoreNode): StoreNode["permissions"] {
  const [first, ...rest] = parent.permissions;
  if (domid === PRIVILEGED) return [first, ...rest];
  return [{ domid, access: first.access }, ...rest];
}

/** Reads an entry such as "r1"; the number is what C's strtoul reads in any base, as an int. */
export function parsePermission(text: string): Permission | undefined {
  const match = /^([nrwb])[ \t-\r]*([-+]?)(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9]\d*)$/.exec(text);
  if (match === null) return undefined;
  const [, access, sign, digits = ""] = match;
  const value = BigInt(/^0\d/.test(digits) ? `0o${digits.slice(1)}` : digits);
  const domid = Number(BigInt.asIntN(32, sign === "-" ? -value : value));
  return { access: access as Access, domid };
}

/** Writes an entry such as "r1". */
export const formatPermission = (p: Permission): string => `${p.access}${p.domid}`;
