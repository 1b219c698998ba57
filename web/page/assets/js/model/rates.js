// How much there was per second, from totals that only grow.

// counters are the totals of a snapshot of which the course is shown. What nobody
// had subscribed to is dropped, but not lost.
export function counters(snap) {
  const unheard = snap.dropped.byReason?.no_subscribers ?? 0;
  return {
    received: snap.received.messages,
    sent: snap.sent.messages,
    bytesIn: snap.received.bytes,
    bytesOut: snap.sent.bytes,
    lost: Math.max(0, snap.dropped.total - unheard),
    unheard,
    connects: snap.connections.total,
  };
}

// brokerNow is the time by the broker's clock when a snapshot was taken.
export function brokerNow(snap) {
  return new Date(Date.parse(snap.startedAt) + snap.uptime * 1000);
}

// Meter tells from totals by name how much there was per second between the latest
// two readings.
export class Meter {
  #at = null;
  #last = null;
  #now = null;
  #seconds = 0;

  // read takes in the totals of all names at a time in seconds that only grows:
  // name -> list of numbers.
  read(at, totals) {
    this.#seconds = this.#at === null ? 0 : at - this.#at;
    this.#last = this.#seconds > 0 ? this.#now : null;
    this.#at = at;
    this.#now = totals;
  }

  // perSecond is a list of rates, or null if the name was not there both times, or
  // has begun to count anew.
  perSecond(name) {
    const before = this.#last?.get(name);
    const now = this.#now?.get(name);
    if (!before || !now || now.some((n, i) => n < before[i])) return null;
    return now.map((n, i) => (n - before[i]) / this.#seconds);
  }

  get ready() {
    return this.#last !== null;
  }
}

// roughly sorts rates into steps of 12%, so that rows do not change places all the
// time.
export function roughly(v) {
  return v <= 0.01 ? -Infinity : Math.round(20 * Math.log10(v));
}
