// @ts-check

/**
 * A generator of numbers from 0 to below 1: xorshift of 32 bits.
 * @param {number} seed
 */
function random(seed) {
  let state = seed >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

/**
 * Some of a list, in an order that the seed gives.
 * @template T
 * @param {T[]} list
 * @param {number} count
 * @param {number} seed
 */
export function draw(list, count, seed) {
  const next = random(seed);
  const rest = [...list];
  /** @type {T[]} */
  const drawn = [];
  while (drawn.length < count && rest.length > 0)
    drawn.push(...rest.splice(Math.floor(next() * rest.length), 1));
  return drawn;
}

/**
 * True at most once in that time.
 * @param {number} ms
 */
export function every(ms) {
  let last = Date.now();
  return () => {
    if (Date.now() - last < ms) return false;
    last = Date.now();
    return true;
  };
}
