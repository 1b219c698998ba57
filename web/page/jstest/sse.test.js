import test from "node:test";
import assert from "node:assert/strict";
import { Parser } from "../assets/js/model/sse.js";
import { below, seeded } from "./random.js";

function parse(chunks) {
  const got = [];
  let beats = 0;
  const p = new Parser((e) => got.push(e), () => beats++);
  for (const c of chunks) p.push(c);
  return { got, beats };
}

test("events as the standard has them", () => {
  const text = ": hello\n\nevent: stats\ndata: {\"a\":1}\n\nid: 7\nevent: drop\ndata: one\ndata: two\n\ndata:no space\n\nevent: lonely\n\nretry: 5\nodd\ndata\n\ndata: unfinished\n";
  const { got, beats } = parse([text]);
  assert.deepEqual(got, [
    { event: "stats", id: "", data: '{"a":1}' },
    { event: "drop", id: "7", data: "one\ntwo" },
    { event: "message", id: "7", data: "no space" },
    { event: "message", id: "7", data: "" },
  ]);
  assert.equal(beats, 1);
});

test("however the bytes are cut, the events are the same", () => {
  const random = seeded(6);
  for (const end of ["\n", "\r\n", "\r"]) {
    const text = ["event: a", "data: 1", "", ": beat", "", "data: 2", "data: 3", "", "id: x", "data: {\"t\":\"a b\"}", "", ""].join(end) + (end === "\r" ? "\n" : "");
    const want = parse([text]);
    assert.equal(want.got.length, 3);
    for (let run = 0; run < 300; run++) {
      const chunks = [];
      for (let at = 0; at < text.length; ) {
        const n = 1 + below(random, 7);
        chunks.push(text.slice(at, at + n));
        at += n;
      }
      assert.deepEqual(parse(chunks), want);
    }
  }
});
