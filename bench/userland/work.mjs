// @ts-check
// Numbers, typed arrays, objects, strings and closures: what V8 compiles while it runs.
let seed = 1;
const random = () => (seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0);
const size = 1 << 18;
const table = new Float64Array(size);
for (let round = 0; round < 12; round++) {
  for (let i = 0; i < size; i++) table[i] = (table[i] ?? 0) * 0.5 + (random() % 1000) / 7;
}
const counts = new Map();
for (let i = 0; i < 300000; i++) {
  const key = `key ${random() % 5000}`;
  counts.set(key, (counts.get(key) ?? 0) + 1);
}
const sorted = [...counts].sort(([a, x], [b, y]) => y - x || (a < b ? -1 : 1));
let crc = 0;
for (let i = 0; i < 4e6; i++) {
  crc ^= i & 255;
  for (let bit = 0; bit < 4; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
}
console.log(table.reduce((a, b) => a + b).toFixed(6), sorted.slice(0, 5).join(), crc >>> 0);
