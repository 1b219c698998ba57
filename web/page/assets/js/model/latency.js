// Durations that the broker counts in buckets: entry i is how many took less than
// 2^i microseconds and no less than half of that; the last all that took longer.

// percentile is what p of 100 took less than, in seconds: the end of a bucket or,
// for the last, its beginning. Of nothing it is null.
export function percentile(counts, p) {
  const total = counts.reduce((sum, n) => sum + n, 0);
  if (total === 0) return null;
  let seen = 0;
  for (let i = 0; i < counts.length; i++) {
    seen += counts[i];
    if (counts[i] === 0 || seen < (total * p) / 100) continue;
    return 2 ** (i === counts.length - 1 ? i - 1 : i) / 1e6;
  }
  return null;
}

// since is what was counted between two readings; null if the later one has begun
// anew.
export function since(before, now) {
  const grown = now.map((n, i) => n - (before[i] ?? 0));
  return grown.some((n) => n < 0) ? null : grown;
}
