/** Shapes that the attacks share. */

/** The library under attack: what library.mjs loads, and the tests bring from the sources. */
// biome-ignore lint/suspicious/noExplicitAny: the attacks pass what types would refuse
export type Library = Record<string, any>;

/** What an attack did. */
export interface Report {
  readonly calls: number;
  /** How often each outcome came: errnos, kinds of exits. */
  readonly outcomes: ReadonlyMap<string, number>;
}
