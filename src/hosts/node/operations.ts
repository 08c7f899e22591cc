/** Counts operations that are under way, for whoever waits for the last one. */
export class Operations {
  #underWay = 0;
  readonly #waiting: (() => void)[] = [];

  /** One begins; the result is to be called once when it has ended. */
  begin(): () => void {
    this.#underWay += 1;
    return () => {
      this.#underWay -= 1;
      if (this.#underWay === 0) for (const resolve of this.#waiting.splice(0)) resolve();
    };
  }

  get isIdle(): boolean {
    return this.#underWay === 0;
  }

  /** Resolves when none is under way. */
  idle(): Promise<void> {
    if (this.#underWay === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
    });
  }
}
