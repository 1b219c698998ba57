import test from "node:test";
import assert from "node:assert/strict";
import { eventText, level, quiet, types } from "../assets/js/model/eventtext.js";
import { Log } from "../assets/js/model/log.js";
import { makeWords } from "../assets/js/model/words.js";
import { below, seeded } from "./random.js";

const words = makeWords("en-US");

test("every type has its words, those of the command line", () => {
  const table = {
    connection: [{ clientId: "pump-7", remote: "10.0.0.7:4", username: "u", protocol: "5", listener: "lan", keepAlive: 60 }, "pump-7 from 10.0.0.7:4 as u (MQTT 5, listener lan, keep alive 1m 00s)"],
    disconnection: [{ clientId: "pump-7", remote: "r", reason: "tcp_closed", error: "EOF", duration: 75, received: 3, sent: 4 }, "pump-7 from r: tcp_closed, EOF (after 1m 15s, 3 in, 4 out)"],
    message: [{ clientId: "pump-7", topic: "a/b", qos: 1, retain: true, size: 2048, payload: "x".repeat(100) }, `pump-7 a/b (QoS 1, retain, 2.00 KiB): ${"x".repeat(80)}...`],
    subscription: [{ clientId: "c", filter: "a/#", qos: 1, shared: "g" }, "c a/# (QoS 1, shared as g)"],
    unsubscription: [{ clientId: "c", filter: "a/#" }, "c a/#"],
    drop: [{ clientId: "", publisher: "p", topic: "a/b", qos: 0, reason: "no_subscribers", count: 1 }, "- a/b: no_subscribers (QoS 0, from p, 1 time)"],
    refusal: [{ what: "connect", reason: "not_authorized" }, "- connect: not_authorized"],
    slow: [{ clientId: "c", state: "slow", queued: 5, pending: 1024, waited: 6 }, "c does not keep up: 5 messages and 1.00 KiB wait for it, for 6s"],
    bridge: [{ bridge: "cloud", state: "down", why: "refused" }, "cloud is down: refused"],
    system: [{ what: "started" }, "started"],
  };
  assert.deepEqual(Object.keys(table).sort(), [...types].sort());
  for (const [type, [data, want]] of Object.entries(table)) assert.equal(eventText({ type, source: "x", data }, words), want);
  assert.equal(eventText({ type: "slow", data: { clientId: "c", state: "recovered", lasted: 61 } }, words), "c keeps up again, after 1m 01s");
  const far = { clientId: "valve", username: "u", remote: "", reason: "timeout", duration: 0, received: 0, sent: 0, bridge: "cloud" };
  assert.equal(eventText({ type: "connection", data: far }, words), "valve as u (told by uplink cloud)");
  assert.equal(eventText({ type: "disconnection", data: { ...far, gateway: "north" } }, words), "valve as u: timeout (told by uplink cloud, at gateway north)");
  assert.equal(eventText({ type: "users.created", source: "app", data: { id: 1 } }, words), 'app {"id":1}');
  assert.equal(eventText({ type: "users.created", source: "app" }, words), "app null");
  assert.ok(!quiet.includes("message") && quiet.length === types.length - 1);
});

test("payloads without text", () => {
  assert.equal(eventText({ type: "message", data: { clientId: "c", topic: "t", qos: 0, size: 3, payloadBase64: "AAEC" } }, words), "c t (QoS 0, 3 B)");
  assert.equal(eventText({ type: "message", data: { clientId: "c", topic: "t", qos: 0, size: 0, payload: "" } }, words), "c t (QoS 0, 0 B): ");
});

test("levels", () => {
  assert.equal(level({ type: "drop", data: { reason: "queue_full" } }), "warn");
  assert.equal(level({ type: "drop", data: { reason: "no_subscribers" } }), "");
  assert.equal(level({ type: "bridge", data: { state: "down" } }), "bad");
  assert.equal(level({ type: "bridge", data: { state: "up" } }), "");
  assert.equal(level({ type: "slow", data: { state: "slow" } }), "warn");
  assert.equal(level({ type: "connection" }), "");
});

const at = (ms) => new Date(1_700_000_000_000 + ms).toISOString();
const drop = (id, ms, clientId, topic, count = 1, reason = "queue_full") => ({ id, type: "drop", timestamp: at(ms), data: { clientId, topic, count, reason } });
const other = (id, ms = 0) => ({ id, type: "connection", timestamp: at(ms), data: {} });

test("the latest come first, each once, and old ones go", () => {
  const log = new Log(3);
  log.add([other("1"), other("2")]);
  log.add([other("2"), other("3"), other("4")]);
  assert.deepEqual(log.shown.map((e) => e.id), ["4", "3", "2"]);
  log.add([other("1")]);
  assert.deepEqual(log.shown.map((e) => e.id), ["4", "3", "2"], "one that has gone does not come back");
  log.clear();
  assert.equal(log.shown.length, 0);
});

test("pausing keeps what is shown", () => {
  const log = new Log(10);
  log.add([other("1"), drop("d", 0, "a", "t")]);
  log.pause(true);
  log.add([other("2"), drop("e", 5, "a", "t", 4)]);
  assert.deepEqual(log.shown.map((e) => [e.id, e.data.count]), [["d", 1], ["1", undefined]]);
  assert.equal(log.missed, 2);
  log.pause(false);
  assert.deepEqual(log.shown.map((e) => e.id), ["2", "d", "1"]);
  assert.equal(log.shown[1].data.count, 5);
  assert.equal(log.missed, 0);
});

test("a flood of drops does not push the rest out of sight", () => {
  const log = new Log(100);
  log.add([other("first")]);
  for (let i = 0; i < 1000; i++) log.add([drop(`d${i}`, i, i % 2 ? "a" : "b", `t/${i % 7}`, 2)]);
  assert.deepEqual(log.shown.map((e) => [e.id, e.data.count]), [["d1", 1000], ["d0", 1000], ["first", undefined]]);
  assert.match(eventText(log.shown[0], words), /^a t\/1 and others: queue_full \(1,000 times within 10s\)$/);
  log.add([drop("late", 10_001, "b", "t")]);
  assert.equal(log.shown[0].id, "late", "after ten seconds there is another row");
  log.add([drop("why", 10_002, "b", "t", 1, "expired")]);
  assert.equal(log.shown[0].id, "why", "another reason is another row");
});

test("nothing is counted twice or lost, whatever comes", () => {
  const random = seeded(7);
  for (let run = 0; run < 100; run++) {
    const log = new Log(10_000);
    let drops = 0, others = 0, time = 0;
    const sent = [];
    for (let i = 0; i < 200; i++) {
      time += below(random, 3000);
      const e = random() < 0.6 ? drop(`${i}`, time, "abc"[below(random, 3)], "t", 1 + below(random, 5)) : other(`${i}`, time);
      if (e.type === "drop") drops += e.data.count;
      else others++;
      sent.push(e);
      log.add([e, ...(random() < 0.2 ? [sent[below(random, sent.length)]] : [])]);
    }
    const shown = log.shown;
    assert.equal(shown.filter((e) => e.type === "drop").reduce((n, e) => n + e.data.count, 0), drops);
    assert.equal(shown.filter((e) => e.type !== "drop").length, others);
    for (let i = 1; i < shown.length; i++) assert.ok(shown[i - 1].timestamp >= shown[i].timestamp);
  }
});
