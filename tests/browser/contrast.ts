/** Contrast as WCAG 2.2 has it, of what a page shows. Runs in the page: it may use nothing from outside. */
export function contrastFaults(): string[] {
  type Colour = readonly [red: number, green: number, blue: number, alpha: number];
  const read = (text: string): Colour => {
    const [red = 0, green = 0, blue = 0, alpha = 1] = (text.match(/[\d.]+/g) ?? []).map(Number);
    return [red, green, blue, alpha];
  };
  const over = (top: Colour, below: Colour): Colour => {
    const mix = (at: 0 | 1 | 2) => top[at] * top[3] + below[at] * (1 - top[3]);
    return [mix(0), mix(1), mix(2), 1];
  };
  const luminance = ([red, green, blue]: Colour): number => {
    const linear = (value: number) =>
      value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4;
    return 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue);
  };
  const ratio = (a: Colour, b: Colour): number => {
    const [light = 0, dark = 0] = [luminance(a), luminance(b)].sort((x, y) => y - x);
    return (light + 0.05) / (dark + 0.05);
  };
  const groundOf = (element: Element | null): Colour => {
    if (element === null) return read(getComputedStyle(document.documentElement).backgroundColor);
    const own = read(getComputedStyle(element).backgroundColor);
    return own[3] === 1 ? own : over(own, groundOf(element.parentElement));
  };
  const opacityOf = (element: Element | null): number =>
    element === null
      ? 1
      : Number(getComputedStyle(element).opacity) * opacityOf(element.parentElement);
  const name = (element: Element): string =>
    `${element.tagName.toLowerCase()}${element.id && `#${element.id}`}.${element.className} "${(element.textContent ?? "").trim().slice(0, 30)}"`;

  const faults: string[] = [];
  let checked = 0;
  const check = (element: Element, what: string, colour: string, least: number): void => {
    const ground = groundOf(what === "edge" ? element.parentElement : element);
    const [red, green, blue, alpha] = read(colour);
    const shown = over([red, green, blue, alpha * opacityOf(element)], ground);
    const found = ratio(shown, ground);
    checked++;
    if (found < least) faults.push(`${found.toFixed(2)} < ${least}: ${what} of ${name(element)}`);
  };
  for (const element of document.querySelectorAll("body *")) {
    // The guest chooses the terminal's colours; what is disabled is excepted by the rule itself.
    if (element.closest(".xterm, :disabled") !== null || !element.checkVisibility()) continue;
    const style = getComputedStyle(element);
    const hasText = [...element.childNodes].some(
      (node) => node.nodeType === Node.TEXT_NODE && node.textContent?.trim(),
    );
    const isField = element.matches("input:not([type=radio], [type=checkbox]), select");
    const size = Number.parseFloat(style.fontSize);
    const isLarge = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    if (hasText || isField) check(element, "text", style.color, isLarge ? 3 : 4.5);
    if (!isField) continue;
    if (element.matches("[placeholder]")) {
      check(element, "placeholder", getComputedStyle(element, "::placeholder").color, 4.5);
    }
    if (!element.matches("[type=file]")) check(element, "edge", style.borderTopColor, 3);
  }
  if (checked < 5) faults.push(`only ${checked} texts are there`);
  return faults;
}
