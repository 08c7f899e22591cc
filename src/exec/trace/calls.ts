/** Calls of one name. */
interface Sum {
  calls: number;
  errors: number;
  microseconds: number;
}

/** How often each ioctl was called, and how long that took. */
export class CallTable {
  readonly #sums = new Map<string, Sum>();

  /** Counts a call, or several alike; `result` is negative for an error. */
  count(name: string, result: number, microseconds: number, calls = 1): void {
    if (calls === 0) return;
    const sum = this.#sums.get(name) ?? { calls: 0, errors: 0, microseconds: 0 };
    sum.calls += calls;
    if (result < 0) sum.errors += calls;
    sum.microseconds += microseconds;
    this.#sums.set(name, sum);
  }

  /** The table as text, the most expensive first. */
  toString(): string {
    const rows = [...this.#sums].sort(([, a], [, b]) => b.microseconds - a.microseconds);
    const line = (cells: readonly string[]) =>
      `${(cells[0] ?? "").padEnd(32)} ${cells
        .slice(1)
        .map((cell) => cell.padStart(12))
        .join(" ")}`;
    return [
      line(["ioctl", "calls", "errors", "seconds", "µs/call"]),
      ...rows.map(([name, sum]) =>
        line([
          name,
          String(sum.calls),
          String(sum.errors),
          (sum.microseconds / 1e6).toFixed(6),
          (sum.microseconds / sum.calls).toFixed(1),
        ]),
      ),
    ].join("\n");
  }
}
