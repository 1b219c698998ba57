import test from "node:test";
import assert from "node:assert/strict";
import { Meter, brokerNow, counters, roughly } from "../assets/js/model/rates.js";
import { History, names } from "../assets/js/model/history.js";
import { percentile, since } from "../assets/js/model/latency.js";
import { below, seeded } from "./random.js";

// snapshot is what the broker says, as far as it counts here.
export function snapshot(change = {}) {
  return {
    startedAt: "2026-03-01T12:00:00Z", uptime: 10,
    received: { messages: 0, bytes: 0 }, sent: { messages: 0, bytes: 0 }, dropped: { total: 0, byReason: {} }, connections: { total: 0 },
    delivery: { times: [0, 0, 0, 0] }, ...change,
  };
}

test("percentiles are the ends of buckets", () => {
  assert.equal(percentile([], 50), null);
  assert.equal(percentile([0, 0], 99), null);
  assert.equal(percentile([0, 0, 1, 0], 50), 4e-6);
  assert.equal(percentile([0, 0, 0, 1], 50), 4e-6, "the last bucket has no end: its beginning");
  assert.equal(percentile([99, 0, 1, 0], 99), 1e-6);
  assert.equal(percentile([98, 0, 2, 0], 99), 4e-6);
});

test("a percentile is what the sorted list says", () => {
  const random = seeded(3);
  for (let run = 0; run < 500; run++) {
    const counts = Array.from({ length: 12 }, () => (random() < 0.5 ? 0 : below(random, 30)));
    const list = counts.flatMap((n, i) => Array(n).fill(i));
    const p = 1 + below(random, 100);
    const got = percentile(counts, p);
    if (list.length === 0) {
      assert.equal(got, null);
      continue;
    }
    const bucket = list[Math.ceil((list.length * p) / 100) - 1];
    assert.equal(got, 2 ** (bucket === counts.length - 1 ? bucket - 1 : bucket) / 1e6);
  }
});

test("what was counted between two readings", () => {
  assert.deepEqual(since([1, 2], [1, 5]), [0, 3]);
  assert.deepEqual(since([], [1, 5]), [1, 5]);
  assert.equal(since([3, 2], [1, 5]), null);
});

test("what nobody had subscribed to is not lost", () => {
  const s = snapshot({ dropped: { total: 10, byReason: { no_subscribers: 4, queue_full: 6 } } });
  assert.equal(counters(s).lost, 6);
  assert.equal(counters(s).unheard, 4);
  assert.equal(counters(snapshot({ dropped: { total: 3 } })).lost, 3);
});

test("the broker's clock", () => {
  assert.equal(brokerNow(snapshot({ uptime: 12.5 })).toISOString(), "2026-03-01T12:00:12.500Z");
});

test("a meter", () => {
  const m = new Meter();
  assert.equal(m.perSecond("a"), null);
  m.read(10, new Map([["a", [5, 1]], ["gone", [1, 1]]]));
  assert.equal(m.perSecond("a"), null, "one reading is none");
  assert.equal(m.ready, false);
  m.read(12, new Map([["a", [9, 1]], ["new", [3, 3]]]));
  assert.deepEqual(m.perSecond("a"), [2, 0]);
  assert.equal(m.perSecond("new"), null);
  assert.equal(m.perSecond("gone"), null);
  m.read(13, new Map([["a", [2, 2]]]));
  assert.equal(m.perSecond("a"), null, "it has begun to count anew");
  m.read(13, new Map([["a", [4, 2]]]));
  assert.equal(m.perSecond("a"), null, "no time has passed");
  assert.equal(m.ready, false);
});

test("rates that are about the same count as equal", () => {
  assert.equal(roughly(100), roughly(104));
  assert.notEqual(roughly(100), roughly(120));
  assert.equal(roughly(0), -Infinity);
});

test("the course of counters", () => {
  const h = new History(100);
  assert.equal(h.latest("received"), null);
  assert.equal(h.highest("received"), null);
  h.add(snapshot({ uptime: 10, received: { messages: 100, bytes: 0 } }));
  assert.equal(h.latest("received"), null, "nothing to compare it with");
  h.add(snapshot({ uptime: 12, received: { messages: 140, bytes: 0 } }));
  assert.equal(h.latest("received"), 20);
  h.add(snapshot({ uptime: 12, received: { messages: 140, bytes: 0 } }));
  assert.equal(h.columns[0].length, 2, "the same again is no news");
  // Somebody has not looked for a minute: the rate is the average of that time.
  h.add(snapshot({ uptime: 72, received: { messages: 200, bytes: 0 } }));
  assert.equal(h.latest("received"), 1);
  assert.equal(h.highest("received"), 20);
});

test("a restart leaves a gap, and time goes on", () => {
  const h = new History(100);
  h.add(snapshot({ uptime: 1000, received: { messages: 5000, bytes: 0 } }));
  h.add(snapshot({ uptime: 1001, received: { messages: 5010, bytes: 0 } }));
  // The clock has been set back by a year meanwhile.
  h.add(snapshot({ startedAt: "2025-03-01T12:00:00Z", uptime: 1, received: { messages: 7, bytes: 0 } }));
  assert.equal(h.latest("received"), null);
  h.add(snapshot({ startedAt: "2025-03-01T12:00:00Z", uptime: 2, received: { messages: 10, bytes: 0 } }));
  assert.equal(h.latest("received"), 3);
  const xs = h.columns[0];
  for (let i = 1; i < xs.length; i++) assert.ok(xs[i] > xs[i - 1], `${xs}`);
});

test("a clock that is set moves nothing", () => {
  const h = new History(100);
  for (let i = 0; i < 5; i++) h.add(snapshot({ startedAt: `202${i}-01-01T00:00:00Z`, uptime: 10 + i }));
  const xs = h.columns[0];
  for (let i = 1; i < xs.length; i++) assert.equal(xs[i] - xs[i - 1], 1);
});

test("latency is that of the latest ten seconds", () => {
  const h = new History(100);
  const times = [0, 0, 0, 0];
  for (let i = 0; i < 30; i++) {
    times[i < 15 ? 2 : 0] += 100; // slow at first
    h.add(snapshot({ uptime: 100 + i, delivery: { times: [...times] } }));
    if (i === 0) assert.equal(h.latest("p50"), null);
    if (i === 10) assert.deepEqual([h.latest("p50"), h.latest("p99")], [4e-6, 4e-6]);
    if (i === 16) assert.equal(h.latest("p99"), 4e-6, "still among the latest");
  }
  assert.deepEqual([h.latest("p50"), h.latest("p99")], [1e-6, 1e-6]);
  h.add(snapshot({ uptime: 200, delivery: { times: [...times] } }));
  h.add(snapshot({ uptime: 201, delivery: { times: [...times] } }));
  assert.equal(h.latest("p50"), null, "nothing was delivered");
});

test("space is bounded, and rates add up to totals", () => {
  const random = seeded(4);
  const h = new History(50);
  let s = snapshot({ uptime: 1 }), total = 0, sum = 0;
  h.add(s);
  for (let i = 0; i < 200; i++) {
    const step = 0.1 + random();
    const n = below(random, 1000);
    total += n;
    s = snapshot({ uptime: s.uptime + step, received: { messages: total, bytes: 0 } });
    h.add(s);
    sum += h.latest("received") * step;
    assert.ok(h.columns[0].length <= 50);
    assert.ok(h.columns.every((c) => c.length === h.columns[0].length));
  }
  assert.ok(Math.abs(sum - total) < 1e-6 * total);
  assert.equal(h.columns.length, names.length + 1);
});
