/**
 * Characters of a line that the recorder's buffer holds; a longer line counts as several.
 * @limit file | line of a scenario | characters | it counts as several lines
 */
const MAX_LINE = 0xffff;

/**
 * Words of a step that are looked at; the rest of the line is only echoed.
 * @limit file | words of a step that are looked at | words | the rest is only echoed
 */
const MAX_WORDS = 40;

/** A step of a scenario. */
export interface Step {
  /** The line as it is echoed. */
  readonly text: string;
  /** Its words, at least one and at most 40. */
  readonly words: readonly string[];
}

/**
 * The steps of a scenario file, one a line, each read when it is asked for. A comment begins with `#`, spaces at the end do not
 * count, and lines without a step are left out. Characters are bytes (ISO 8859-1), so that an echo
 * gives back what was in the file.
 */
export function* parseScenario(file: Uint8Array): Generator<Step, void> {
  for (const line of linesOf(file)) {
    const text = withoutSpacesBehind(until(line, "#\n\0"));
    const words = wordsOf(text);
    if (words.length > 0) yield { text, words };
  }
}

/** A regular expression would look at each run of spaces from each of its places. */
function withoutSpacesBehind(text: string): string {
  let end = text.length;
  while (end > 0 && text[end - 1] === " ") end -= 1;
  return text.slice(0, end);
}

/** The words of a line, at most `limit`; only spaces divide them. */
export function wordsOf(text: string, limit = MAX_WORDS): string[] {
  return text
    .split(" ")
    .filter((word) => word !== "")
    .slice(0, limit);
}

/** The text before the first of these characters. */
function until(text: string, stops: string): string {
  const end = [...text].findIndex((character) => stops.includes(character));
  return end < 0 ? text : text.slice(0, end);
}

function* linesOf(file: Uint8Array): Generator<string, void> {
  for (let at = 0; at < file.length; ) {
    const newline = file.indexOf(0x0a, at);
    const end = newline < 0 ? file.length : newline + 1;
    const next = Math.min(end, at + MAX_LINE);
    yield latin1(file.subarray(at, next));
    at = next;
  }
}

function latin1(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
}
