import test from "node:test";
import assert from "node:assert/strict";
import { Api, Refused, Unreachable, problem } from "../assets/js/net/api.js";
import { Follower } from "../assets/js/net/follow.js";

const json = (status, body) => new Response(body === undefined ? null : JSON.stringify(body), { status });

function api(answer) {
  const asked = [];
  let ended = 0;
  const a = new Api(async (path, options) => {
    asked.push({ path, ...options });
    return answer(path, options);
  }, () => ended++);
  return { a, asked, ended: () => ended };
}

test("answers and refusals", async () => {
  const { a, asked, ended } = api((path) => ({
    "/ok": json(200, { x: 1 }), "/empty": json(204), "/no": json(403, { error: "only administrators may", hint: "ask one" }),
    "/out": json(401, { error: "log in", hint: "" }), "/odd": new Response("<html>", { status: 502 }), "/broken": new Response("{", { status: 200 }),
  })[path]);
  assert.deepEqual(await a.get("/ok"), { x: 1 });
  assert.equal(await a.post("/empty", { y: 2 }), null);
  assert.equal(asked[1].body, '{"y":2}');
  assert.equal(asked[1].headers["Content-Type"], "application/json");
  for (const call of asked) assert.deepEqual([call.credentials, call.cache, call.redirect], ["same-origin", "no-store", "error"]);
  await assert.rejects(a.get("/no"), (e) => e instanceof Refused && e.status === 403 && problem(e) === "only administrators may; ask one");
  await assert.rejects(a.get("/odd"), (e) => e instanceof Refused && problem(e) === "unexpected answer: 502");
  await assert.rejects(a.get("/broken"), Unreachable);
  assert.equal(ended(), 0);
  await assert.rejects(a.get("/out"), Refused);
  assert.equal(ended(), 1, "the session is over");
});

test("nobody answers", async () => {
  const { a, ended } = api(() => Promise.reject(new TypeError("Failed to fetch")));
  await assert.rejects(a.get("/x"), (e) => e instanceof Unreachable && problem(e) === "the broker does not answer");
  assert.equal(ended(), 0);
});

// A clock that goes when it is told to.
function clock() {
  let now = 0, next = 1;
  const timers = new Map();
  return {
    now: () => now, random: () => 0,
    set: (fn, ms) => (timers.set(next, { at: now + ms, fn }), next++),
    clear: (t) => timers.delete(t),
    timers,
    async go(ms) {
      const until = now + ms;
      for (;;) {
        const [id, t] = [...timers].filter(([, x]) => x.at <= until).sort((a, b) => a[1].at - b[1].at)[0] ?? [];
        if (!id) break;
        timers.delete(id);
        now = t.at;
        t.fn();
        await settle();
      }
      now = until;
      await settle();
    },
  };
}

// settle lets everything happen that waits for nothing but its turn.
const settle = async () => {
  for (let i = 0; i < 5; i++) await new Promise((r) => setImmediate(r));
};

// A server whose streams the test feeds.
function server() {
  const streams = [];
  let answer = null; // instead of a stream
  return {
    streams,
    refuse: (fn) => (answer = fn),
    api: {
      async open(path, signal) {
        if (answer) return answer(path);
        const s = { path, signal };
        const body = new ReadableStream({ start: (c) => (s.controller = c) });
        signal.addEventListener("abort", () => s.controller.error(new DOMException("aborted", "AbortError")));
        s.say = (text) => s.controller.enqueue(new TextEncoder().encode(text));
        s.end = () => s.controller.close();
        streams.push(s);
        return { body };
      },
    },
  };
}

function follower() {
  const c = clock(), s = server(), told = [];
  const f = new Follower(s.api, { item: (v, e) => told.push(["item", v, e]), state: (st, d) => told.push([st, d]) }, c);
  return { f, c, s, told, states: () => told.filter(([x]) => x !== "item").map(([x]) => x).join(" ") };
}

test("items come as they are sent", async () => {
  const { f, s, told } = follower();
  f.start("/v1/x", 1000);
  await settle();
  s.streams[0].say('event: stats\ndata: {"n":1}\n\nda');
  s.streams[0].say('ta: {"n":2}\n\n');
  await settle();
  assert.deepEqual(told, [["connecting", null], ["live", null], ["item", { n: 1 }, "stats"], ["item", { n: 2 }, "message"]]);
  f.stop();
  s.streams[0].signal.throwIfAborted === undefined || assert.ok(s.streams[0].signal.aborted);
  await settle();
  assert.equal(told.length, 4, "who has stopped hears no more");
});

test("characters that are cut in two", async () => {
  const { f, s, told } = follower();
  f.start("/v1/x", 1000);
  await settle();
  const bytes = new TextEncoder().encode('data: "温度"\n\n');
  for (const b of bytes) s.streams[0].controller.enqueue(new Uint8Array([b]));
  await settle();
  assert.deepEqual(told.at(-1), ["item", "温度", "message"]);
  f.stop();
});

test("a broken stream is opened again, later and later", async () => {
  const { f, c, s, told, states } = follower();
  f.start(() => `/v1/x?${s.streams.length}`, 60_000);
  await settle();
  s.streams[0].end();
  await settle();
  assert.equal(states(), "connecting live lost");
  assert.deepEqual(told.at(-1), ["lost", { why: "the broker has ended the connection", next: 1000 }]);
  s.refuse(() => Promise.reject(new Unreachable("the broker does not answer")));
  const tries = [];
  for (let i = 0; i < 6; i++) {
    await c.go(told.at(-1)[1].next - c.now());
    tries.push(told.at(-1)[1].next - c.now());
  }
  assert.deepEqual(tries, [2000, 4000, 8000, 10_000, 10_000, 10_000]);
  s.refuse(null);
  f.now();
  await settle();
  assert.equal(told.at(-1)[0], "live");
  assert.equal(s.streams[1].path, "/v1/x?1", "the path is asked for anew");
  s.streams[1].end();
  await settle();
  assert.equal(told.at(-1)[1].next - c.now(), 1000, "after a success it begins anew");
  f.stop();
  assert.equal(c.timers.size, 0, "no timer is left");
});

test("silence is a broken stream, a heartbeat is not", async () => {
  const { f, c, s, told } = follower();
  f.start("/v1/x", 5000);
  await settle();
  for (let i = 0; i < 5; i++) {
    await c.go(4000);
    s.streams[0].say(":\n\n");
    await settle();
  }
  assert.equal(told.at(-1)[0], "live");
  await c.go(5000);
  assert.deepEqual([told.at(-1)[0], told.at(-1)[1].why], ["lost", "the broker has fallen silent"]);
  assert.ok(s.streams[0].signal.aborted);
  await c.go(1000);
  assert.equal(told.at(-1)[0], "live");
  f.stop();
});

test("who is refused is told, and does not try again by itself", async () => {
  const { f, c, s, told } = follower();
  s.refuse(() => Promise.reject(new Refused(401, "log in", "")));
  f.start("/v1/x", 1000);
  await c.go(100_000);
  assert.deepEqual(told.map(([x]) => x), ["connecting", "refused"]);
  assert.equal(f.running, false);
  // A broker that has too much to do may have less later.
  s.refuse(() => Promise.reject(new Refused(503, "too many streams", "end one of the running ones first")));
  f.start("/v1/x", 1000);
  await settle();
  assert.deepEqual([told.at(-1)[0], told.at(-1)[1].why], ["lost", "too many streams; end one of the running ones first"]);
  s.refuse(null);
  await c.go(1000);
  assert.equal(told.at(-1)[0], "live");
  f.stop();
});

test("starting anew leaves the old stream alone", async () => {
  const { f, s, told } = follower();
  f.start("/v1/a", 1000);
  await settle();
  f.start("/v1/b", 1000);
  await settle();
  s.streams[1].say("data: 1\n\n");
  await settle();
  assert.ok(s.streams[0].signal.aborted);
  assert.deepEqual(told.map(([x]) => x), ["connecting", "live", "connecting", "live", "item"]);
  f.stop();
});
