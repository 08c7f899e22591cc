/**
 * The element of the page with that id.
 * @throws Error when there is none of that type: the page and its script do not fit.
 */
export function element<T extends HTMLElement>(id: string, type: new () => T): T {
  const found = document.getElementById(id);
  if (!(found instanceof type)) throw new Error(`the page has no #${id}`);
  return found;
}
