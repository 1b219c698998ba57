import test from "node:test";
import assert from "node:assert/strict";
import { makeWords } from "../assets/js/model/words.js";

const en = makeWords("en-US");
const de = makeWords("de-DE");

test("numbers in the reader's locale", () => {
  const table = [
    [en.count(0), "0"], [en.count(999_999), "999,999"], [en.count(1_234_567), "1.2M"], [de.count(12_345), "12.345"],
    [en.full(1_234_567), "1,234,567"],
    [en.amount(1, "client"), "1 client"], [en.amount(0, "client"), "0 clients"], [en.amount(2, "branch", "branches"), "2 branches"],
    [en.rate(null), "–"], [en.rate(0), "0"], [en.rate(0.001), "<0.01"], [en.rate(0.5), "0.50"], [en.rate(9.87), "9.87"], [en.rate(42), "42.0"],
    [en.rate(99.96), "100"], [en.rate(1234.5), "1,235"], [en.rate(2_500_000), "2.5M"], [de.rate(1.5), "1,50"],
    [en.share(1, 3), "33.3%"], [en.share(0, 0), "–"],
  ];
  for (const [got, want] of table) assert.equal(got, want);
});

test("sizes", () => {
  const table = [[0, "0 B"], [1, "1 B"], [1023, "1,023 B"], [1024, "1.00 KiB"], [1536, "1.50 KiB"], [1023.6 * 1024, "1.00 MiB"], [1 << 30, "1.00 GiB"], [150 * 1024, "150 KiB"], [2 ** 60, "1,024 PiB"]];
  for (const [v, want] of table) assert.equal(en.size(v), want);
  assert.equal(en.size(null), "–");
});

test("times", () => {
  const spans = [[0, "0s"], [-5, "0s"], [59.4, "59s"], [59.6, "1m 00s"], [3599, "59m 59s"], [3600, "1h 00m"], [86399, "23h 59m"], [86400, "1d 00h"], [100 * 86400 + 3600, "100d 01h"]];
  for (const [v, want] of spans) assert.equal(en.span(v), want);
  const briefs = [[1e-6, "1 µs"], [64e-6, "64 µs"], [0.001024, "1.02 ms"], [0.008192, "8.19 ms"], [0.999, "999 ms"], [1, "1 s"], [8.388608, "8.39 s"], [null, "–"]];
  for (const [v, want] of briefs) assert.equal(en.brief(v), want);
  const now = new Date("2026-03-01T12:00:00Z");
  const ago = (s) => en.ago(new Date(now - s * 1000), now);
  assert.deepEqual([ago(0), ago(0.5), ago(12), ago(3700), ago(-0.5), ago(-90)], ["now", "now", "12s ago", "1h 01m ago", "now", "in 1m 30s"]);
});
