// The course of a broker's counters, for the charts.

import { counters } from "./rates.js";
import { percentile, since } from "./latency.js";

const latencySpan = 10; // seconds that a percentile is about
export const names = ["received", "sent", "bytesIn", "bytesOut", "lost", "unheard", "connects", "p50", "p99"];

// History keeps rates, one for each snapshot, of the latest snapshots.
export class History {
  #most;
  #last = null; // the latest snapshot
  #base = 0; // seconds since 1970 at which its process started
  #times = []; // {uptime, counts} of deliveries, the oldest first
  columns = [[], ...names.map(() => [])]; // seconds since 1970, and a list for each name; null: not known

  constructor(most) {
    this.#most = most;
  }

  // add takes in a snapshot. A broker that was started again has counted from
  // zero: between the two nothing is known.
  add(snap) {
    const before = this.#last;
    const started = Date.parse(snap.startedAt) / 1000;
    if (before && snap.uptime === before.uptime) return;
    this.#last = snap;
    if (!before || snap.uptime < before.uptime) {
      const xs = this.columns[0];
      const latest = xs.length ? xs[xs.length - 1] : -Infinity;
      this.#base = Math.max(started, latest + 1 - snap.uptime);
      this.#times = [];
      this.#push(this.#base + snap.uptime, names.map(() => null));
      this.#deliveries(snap);
      return;
    }
    const seconds = snap.uptime - before.uptime;
    const [a, b] = [counters(before), counters(snap)];
    const values = names.slice(0, -2).map((name) => Math.max(0, b[name] - a[name]) / seconds);
    this.#push(this.#base + snap.uptime, [...values, ...this.#deliveries(snap)]);
  }

  // latest is the newest value of a name, null if there is none.
  latest(name) {
    return this.columns[1 + names.indexOf(name)].at(-1) ?? null;
  }

  // highest is the largest value of a name that is kept, null if there is none.
  highest(name) {
    return this.columns[1 + names.indexOf(name)].reduce((most, v) => (v === null ? most : Math.max(most ?? 0, v)), null);
  }

  // deliveries is what half and 99 of 100 deliveries of the latest seconds took.
  #deliveries(snap) {
    const counts = snap.delivery.times ?? [];
    const recent = this.#times;
    while (recent.length > 1 && snap.uptime - recent[1].uptime >= latencySpan) recent.shift();
    const grown = recent.length ? since(recent[0].counts, counts) : null;
    recent.push({ uptime: snap.uptime, counts });
    return grown ? [percentile(grown, 50), percentile(grown, 99)] : [null, null];
  }

  #push(x, values) {
    [x, ...values].forEach((v, i) => this.columns[i].push(v));
    if (this.columns[0].length > this.#most) for (const column of this.columns) column.shift();
  }
}
