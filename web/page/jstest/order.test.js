import test from "node:test";
import assert from "node:assert/strict";
import { holding, pageOf, sorted } from "../assets/js/model/order.js";
import { delay, pause } from "../assets/js/model/backoff.js";
import { format, parse, views } from "../assets/js/model/route.js";
import { below, seeded } from "./random.js";

test("equal ones are in the order of their name, both ways", () => {
  const list = [{ id: "b", n: 1 }, { id: "a", n: 1 }, { id: "c", n: 2 }, { id: "d", n: null }];
  const ids = (down) => sorted(list, (x) => x.n, (x) => x.id, down).map((x) => x.id).join("");
  assert.equal(ids(true), "cabd");
  assert.equal(ids(false), "abcd");
  assert.deepEqual(list.map((x) => x.id), ["b", "a", "c", "d"], "the list itself stays");
  assert.equal(sorted(list, (x) => x.id, (x) => x.id, true).map((x) => x.id).join(""), "dcba");
});

test("sorting is a permutation in order", () => {
  const random = seeded(5);
  for (let run = 0; run < 200; run++) {
    const list = Array.from({ length: below(random, 40) }, (_, i) => ({ id: `c${i}`, n: random() < 0.1 ? -Infinity : below(random, 5) }));
    const got = sorted(list, (x) => x.n, (x) => x.id, true);
    assert.deepEqual(new Set(got), new Set(list));
    assert.equal(got.length, list.length);
    for (let i = 1; i < got.length; i++) assert.ok(got[i - 1].n >= got[i].n);
  }
});

test("filtering", () => {
  const list = ["Pump-7", "valve", "<b>"];
  const by = (want) => holding(list, want, (x) => [x]);
  assert.deepEqual(by(""), list);
  assert.deepEqual(by("  "), list);
  assert.deepEqual(by("pUMP"), ["Pump-7"]);
  assert.deepEqual(by("<B"), ["<b>"]);
  assert.deepEqual(by("none"), []);
});

test("pages hold everything once", () => {
  for (const n of [0, 1, 99, 100, 101, 10_000]) {
    const list = Array.from({ length: n }, (_, i) => i);
    const { pages } = pageOf(list, 0, 100);
    assert.equal(pages, Math.max(1, Math.ceil(n / 100)));
    const all = Array.from({ length: pages }, (_, i) => pageOf(list, i, 100).rows).flat();
    assert.deepEqual(all, list);
    assert.ok(pageOf(list, 0, 100).rows.length <= 100);
  }
  const short = pageOf([1, 2, 3], 9, 2);
  assert.deepEqual([short.page, short.rows, short.first], [1, [3], 2], "a page that is gone is the last one");
  assert.equal(pageOf([1], -4, 2).page, 0);
});

test("backoff grows, is bounded, and differs from page to page", () => {
  let before = 0;
  for (let n = 0; n < 2000; n++) {
    const longest = delay(n, () => 0), shortest = delay(n, () => 0.999999);
    assert.ok(longest >= before && longest <= 10_000);
    assert.ok(shortest >= 0.74 * longest && shortest < longest);
    before = longest;
  }
  assert.equal(delay(0, () => 0), 1000);
  assert.equal(before, 10_000);
  assert.equal(pause(2000, 10, 50), 2000);
  assert.equal(pause(2000, 5000, 50), 15_000);
  assert.equal(pause(2000, 10, 10_000), 10_000);
});

test("places have addresses", () => {
  for (const item of [null, "pump-7", "a/b", "..", ".", "%", "100%", "#", "?x=1", "ä 🙂", "\u202e", "a//b/"]) {
    for (const view of views) assert.deepEqual(parse(format(view, item)), { view, item });
  }
  for (const hash of ["", "#", "#/", "#/nowhere", "#/nowhere/x", "overview", "#//x"]) assert.equal(parse(hash).view, "overview");
  assert.deepEqual(parse("#/clients/%zz"), { view: "clients", item: null });
});
