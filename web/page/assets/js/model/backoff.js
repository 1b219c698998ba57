// When to try again.

const first = 1000, longest = 10_000; // milliseconds

// delay is how long to wait before attempt n (from 0 on) to reach a broker that does
// not answer: doubling, and up to a quarter less at random, so that not all pages
// come at once when it is back. random is a function such as Math.random.
export function delay(attempt, random) {
  return Math.min(longest, first * 2 ** Math.min(attempt, 16)) * (1 - random() / 4);
}

// pause is how long to wait before a list of so many rows is asked for again that took
// so long to come: a broker with very many clients is asked less often.
export function pause(interval, took, rows) {
  return Math.max(interval, 3 * took, rows);
}
