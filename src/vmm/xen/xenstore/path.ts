import { XENSTORE_REL_PATH_MAX, type XsError } from "../../../abi/xen/xs-wire.js";

/** Marks an error result: a name of the closed set of the protocol. */
export const isXsError = (value: unknown): value is XsError => typeof value === "string";

/** An absolute path of a node, checked: "/" or "/a/b" without a slash at the end. */
export interface NodePath {
  readonly absolute: string;
  /** The client gave it relative to its own directory. */
  readonly relative: boolean;
}

/** A domain's own directory. */
export const domainPath = (domid: number): string => `/local/domain/${domid}`;

const isName = (text: string): boolean => /^[A-Za-z0-9\-/_@]+$/.test(text);

/**
 * Checks a path as a client of domain `domid` sends it and makes it absolute.
 * @returns EINVAL for characters other than letters, digits and `-/_@`, empty parts, a slash at
 * the end, or more bytes than XENSTORE_REL_PATH_MAX, /local/domain/N/ not counted: xenstored's quota
 * "path-max" is less than what the protocol allows.
 */
export function parsePath(domid: number, text: string): NodePath | XsError {
  const relative = !text.startsWith("/");
  const counted = text.replace(/^\/local\/domain\/\d+\//, "");
  if (counted.length > XENSTORE_REL_PATH_MAX || !isName(text)) return "EINVAL";
  if (text.startsWith("@")) return "EINVAL";
  if (text !== "/" && (text.endsWith("/") || text.includes("//"))) return "EINVAL";
  return { absolute: relative ? `${domainPath(domid)}/${text}` : text, relative };
}

/** As {@link parsePath}, but special names, such as "@releaseDomain", may be watched too. */
export function parseWatchPath(domid: number, text: string): NodePath | XsError {
  if (!text.startsWith("@")) return parsePath(domid, text);
  const good = text.length <= XENSTORE_REL_PATH_MAX && isName(text) && !text.includes("//");
  return good ? { absolute: text, relative: false } : "EINVAL";
}

/** The parent of a path other than "/". */
export function parentOf(path: string): string {
  const slash = path.lastIndexOf("/");
  return slash <= 0 ? "/" : path.slice(0, slash);
}

/** The last part of a path other than "/". */
export const baseName = (path: string): string => path.slice(path.lastIndexOf("/") + 1);

/** The path of a child. */
export const childPath = (path: string, name: string): string =>
  path === "/" ? `/${name}` : `${path}/${name}`;

/** Whether `path` is `ancestor` or lies below it. */
export const isWithin = (path: string, ancestor: string): boolean =>
  path === ancestor || ancestor === "/" || path.startsWith(`${ancestor}/`);
