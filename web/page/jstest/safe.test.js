import test from "node:test";
import assert from "node:assert/strict";
import { addressable, part, visible } from "../assets/js/model/safe.js";
import { below, seeded } from "./random.js";

test("hostile text is visible", () => {
  const cases = {
    "pump-7": "pump-7",
    "": "",
    "<img src=x onerror=alert(1)>": "<img src=x onerror=alert(1)>", // text, not markup: views put it into text nodes
    "a\u0000b": "a\\x00b",
    "a\nb\tc\r": "a\\x0ab\\x09c\\x0d",
    "\u001b[31mred": "\\x1b[31mred",
    "del\u007f": "del\\x7f",
    "c1\u0085": "c1\\u{85}",
    "\u202egnp.exe": "\\u{202e}gnp.exe",
    "\u2066x\u2069": "\\u{2066}x\\u{2069}",
    "\u200fx\u200e": "\\u{200f}x\\u{200e}",
    "zero\u200bwidth\ufeff": "zero\\u{200b}width\\u{feff}",
    "no\u00a0break": "no\\u{a0}break",
    "line\u2028end": "line\\u{2028}end",
    "back\\slash": "back\\\\slash",
    "filler\u3164\u115f\u2800": "filler\\u{3164}\\u{115f}\\u{2800}",
    "tag\u{e0041}": "tag\\u{e0041}",
    "\ue000private": "\\u{e000}private",
    "half\ud800": "half\\u{d800}",
    "soft\u00adhyphen": "soft\\u{ad}hyphen",
    "Zürich 温度 🙂 עברית": "Zürich 温度 🙂 עברית",
    "n\u0303": "n\u0303",
    "z\u0301\u0302\u0303\u0304": "z\u0301\u0302\\u{303}\\u{304}",
    "\u0301x": "\\u{301}x",
  };
  for (const [text, want] of Object.entries(cases)) assert.equal(visible(text), want, JSON.stringify(text));
  assert.equal(visible(null), "");
  assert.equal(visible(undefined), "");
  assert.equal(visible(7), "7");
});

test("escapes tell different texts apart", () => {
  const random = seeded(1);
  const alphabet = ["a", "\\", "x", "0", "{", "}", "u", "\u0000", "\u202e", "\u200b", "1", "2", "e", "\u0301", " "];
  const seen = new Map();
  for (let i = 0; i < 20_000; i++) {
    const text = Array.from({ length: 1 + below(random, 6) }, () => alphabet[below(random, alphabet.length)]).join("");
    const shown = visible(text);
    assert.ok(!seen.has(shown) || seen.get(shown) === text, `${JSON.stringify(text)} and ${JSON.stringify(seen.get(shown))} look the same`);
    seen.set(shown, text);
  }
});

test("whatever the text, nothing that steers is left", () => {
  const random = seeded(2);
  for (let i = 0; i < 5000; i++) {
    const text = Array.from({ length: below(random, 12) }, () => String.fromCodePoint(below(random, 0x11_0000))).join("");
    const shown = visible(text);
    assert.doesNotMatch(shown, /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/u, JSON.stringify(text));
    const most = 1 + below(random, 20);
    const cut = visible(text, most);
    assert.ok(cut === shown || (cut.endsWith("…") && shown.startsWith(cut.slice(0, -1))), JSON.stringify(text));
    assert.ok(cut.length <= most + 1);
  }
});

test("long names are cut, and not inside of an escape", () => {
  assert.equal(visible("a".repeat(300), 10), "a".repeat(10) + "…");
  assert.equal(visible("abc\u202e", 5), "abc…");
  assert.equal(visible("abc", 3), "abc");
});

test("segments of paths", () => {
  for (const id of ["a/b", "a?b#c", "%2e%2e", "..x", "ä 🙂", "a\u0000b", "\\", "\ud800x", "x\udc00"]) {
    assert.ok(addressable(id), id);
    const url = new URL(`/v1/clients/${part(id)}/kick`, "http://broker");
    assert.equal(url.search + url.hash, "");
    const parts = url.pathname.split("/");
    assert.deepEqual([parts.length, parts[1], parts[2], parts[4]], [5, "v1", "clients", "kick"], id);
    assert.equal(decodeURIComponent(parts[3]), id.toWellFormed?.() ?? decodeURIComponent(parts[3]));
  }
  // What a browser makes of these is another path, so it must not be asked for them.
  for (const id of ["", ".", ".."]) assert.ok(!addressable(id), id);
  assert.equal(new URL(`/v1/clients/${part("..")}/kick`, "http://broker").pathname, "/v1/kick");
});

test("values of queries", () => {
  for (const id of [".", "..", "a/b", "a?b#c", "a&id=b", "a+b", "a b", "%2e%2e", "ä 🙂", "a\u0000b", "\n", "\\", "\ud800x", "x\udc00"]) {
    const url = new URL(`/v1/client/kick?id=${part(id)}`, "http://broker");
    assert.equal(url.pathname + url.hash, "/v1/client/kick", id);
    assert.deepEqual([...url.searchParams], [["id", id.toWellFormed?.() ?? url.searchParams.get("id")]]);
  }
});
