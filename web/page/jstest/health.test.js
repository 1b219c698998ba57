import test from "node:test";
import assert from "node:assert/strict";
import { findings, uplinkLevel, verdict } from "../assets/js/model/health.js";
import { makeWords } from "../assets/js/model/words.js";

const words = makeWords("en-US");

function healthy(change = {}) {
  return {
    startedAt: "2026-03-01T12:00:00Z", uptime: 3600, storage: { state: "ok", recovered: {} }, budget: { level: "calm", pressure: 0 },
    rates: { lost: { "1min": 0 } }, ...change,
  };
}

const bridge = (change) => healthy({ bridges: [{ name: "cloud", state: "up", since: "2026-03-01T12:00:00Z", attempts: 3, deadLetters: 0, ...change }] });
const certificate = (change) => healthy({ certificates: [{ listener: "lan", role: "client_ca", subject: "CN=x", notAfter: "2026-03-02T12:00:00Z", state: "ok", ...change }] });

test("a healthy broker", () => {
  assert.deepEqual(findings(healthy(), words), []);
  assert.deepEqual(verdict([]), { level: "good", text: "healthy" });
  assert.deepEqual(findings(bridge({}), words), []);
  assert.deepEqual(findings(certificate({}), words), []);
  assert.deepEqual(findings(healthy({ storage: { state: "none" } }), words), []);
});

test("what is wrong is said", () => {
  const table = [
    [healthy({ storage: { state: "full", reason: "no room\u001b[1m" } }), "bad", /store is full.*no room\\x1b\[1m/],
    [healthy({ storage: { state: "failed", reason: "EIO" } }), "bad", /store has failed.*EIO/],
    [healthy({ storage: { state: "ok", writeBudget: { exceeded: true, usedBytes: 2048, dailyBytes: 1024 } } }), "warn", /2\.00 KiB of 1\.00 KiB/],
    [healthy({ storage: { state: "ok", recovered: { damage: 1, lostRecords: 2, lostMessages: 0 } } }), "warn", /1 place, 2 records and 0 messages/],
    [healthy({ budget: { level: "guarded", pressure: 1 } }), "warn", /getting short \(guarded\)/],
    [healthy({ budget: { level: "shedding", pressure: 2 } }), "bad", /shedding/],
    [healthy({ budget: { level: "severe", pressure: 3 } }), "bad", /severe/],
    [bridge({ state: "down", why: "refused\u202e" }), "bad", /Uplink cloud has been down for 1h 00m: refused\\u\{202e\}\./],
    [bridge({ state: "stalled" }), "bad", /stalled/],
    [bridge({ state: "new-state" }), "bad", /new-state/],
    [bridge({ state: "connecting", attempts: 1 }), "warn", /is connecting/],
    [bridge({ state: "connecting", attempts: 2 }), "bad", /connecting for/],
    [bridge({ state: "paused" }), "warn", /paused/],
    [bridge({ deadLetters: 1 }), "warn", /1 dead letter:/],
    [certificate({ state: "expired", notAfter: "2026-03-01T12:00:00Z" }), "bad", /client ca of listener lan \(CN=x\) expired 1h 00m ago/],
    [certificate({ state: "expiring" }), "warn", /expires in 23h 00m/],
    [healthy({ rates: { lost: { "1min": 0.5 } } }), "warn", /0\.50 a second/],
    [healthy({ eventSinks: [{ name: "ops", dropped: 3 }, { name: "fine", dropped: 0 }] }), "warn", /^Event sink ops has given up 3 events\.$/],
  ];
  for (const [snap, level, text] of table) {
    const found = findings(snap, words);
    assert.equal(found.length, 1, JSON.stringify(found));
    assert.equal(found[0].level, level, found[0].text);
    assert.match(found[0].text, text);
  }
  assert.deepEqual(findings(healthy({ rates: { lost: { "1min": 0.001 } } }), words), [], "an average that fades is no news");
});

test("the worst comes first", () => {
  const snap = { ...bridge({ state: "paused" }), storage: { state: "full", reason: "" } };
  const found = findings(snap, words);
  assert.deepEqual(found.map((f) => f.level), ["bad", "warn"]);
  assert.deepEqual(verdict(found), { level: "bad", text: "1 problem" });
  assert.deepEqual(verdict(found.slice(1)), { level: "warn", text: "1 warning" });
  assert.deepEqual(verdict([...found, ...found]), { level: "bad", text: "2 problems" });
});

test("levels of uplinks", () => {
  assert.equal(uplinkLevel({ state: "up" }), "good");
  assert.equal(uplinkLevel({ state: "anything" }), "bad");
});
