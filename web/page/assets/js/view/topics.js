// The busiest topics, and who publishes on one.

import { el, facts, name, setAttr, setName, setText, setTime } from "./dom.js";
import { Table, only } from "./table.js";
import { details, search, trouble } from "./dialogs.js";
import { Poller } from "../net/poll.js";
import { problem } from "../net/api.js";
import { Meter, roughly } from "../model/rates.js";
import { holding, sorted } from "../model/order.js";
import { format } from "../model/route.js";
import { visible } from "../model/safe.js";
import { words } from "../model/words.js";

const wantedTopics = 1000; // how many of the busiest are asked for

export function topics(ctx) {
  let answer = null, wanted = "", depth = 0, byBytes = false, flows = new Meter();
  const said = el("p", { class: "said" });
  const wrong = el("p", { class: "said trouble", hidden: true });
  const rate = (b, i) => (b.error === 0 ? flows.perSecond(b.topic)?.[i] ?? null : null);
  const share = (b) => (byBytes ? [b.bytes, answer.bytes] : [b.messages, answer.messages]);
  const values = {
    topic: (b) => b.topic, messages: (b) => b.messages, bytes: (b) => b.bytes,
    rate: (b) => roughly(rate(b, 0) ?? 0), byteRate: (b) => roughly(rate(b, 1) ?? 0),
  };
  const table = new Table({
    caption: "The busiest topics", nothing: "…", keyOf: (b) => b.topic, sort: { key: "messages", down: true },
    onSort(sort) {
      const bytes = sort.key === "bytes" || sort.key === "byteRate";
      if (bytes !== byBytes && sort.key !== "topic") anew(() => (byBytes = bytes));
      draw();
    },
    columns: [
      { key: "topic", title: "Topic", class: "fill", down: false, fill: (cell, b) => {
        const link = only(cell, () => el("a", {}, name("")));
        setAttr(link, "href", format("topics", b.topic));
        setName(link.firstChild, b.topic, 160);
      } },
      { key: "rate", title: "Per s", class: "r", down: true, hint: "messages per second", text: (b) => words.rate(rate(b, 0)) },
      { key: "share", title: "Share", class: "r", hint: "of all that was published since the start", text: (b) => words.share(...share(b)) },
      { key: "messages", title: "Messages", class: "r p2", down: true, hint: "since the start of the broker", text: (b) => atLeast(b.error > 0 && byBytes) + words.count(b.messages) },
      { key: "byteRate", title: "Bytes/s", class: "r p2", down: true, hint: "of payload", text: (b) => words.size(rate(b, 1)) },
      { key: "bytes", title: "Bytes", class: "r p2", down: true, hint: "of payload, since the start of the broker", text: (b) => atLeast(b.error > 0 && !byBytes) + words.size(b.bytes) },
      { key: "error", title: "Error", class: "r p3", hint: "by how much, at most, the number is too high by which the list is sorted", text: (b) => (b.error > 0 && byBytes ? words.size(b.error) : words.count(b.error)) },
    ],
  });
  const input = search("Filter by topic", (text) => {
    wanted = text;
    table.first();
    draw();
  });
  const levels = el("select", { "aria-label": "Topics or branches", on: { change: (e) => anew(() => (depth = Number(e.target.value))) } },
    el("option", { value: "0", text: "Whole topics" }), ...[1, 2, 3, 4].map((n) => el("option", { value: String(n), text: `Branches of ${words.amount(n, "level")}` })));
  const poller = new Poller({
    interval: 2000,
    ask: (signal) => ctx.api.get(`/v1/topics?depth=${depth}&sort=${byBytes ? "bytes" : "messages"}&top=${wantedTopics}`, signal),
    take(t) {
      answer = { ...t, busiest: t.busiest ?? [] };
      flows.read(performance.now() / 1000, new Map(answer.busiest.filter((b) => b.error === 0).map((b) => [b.topic, [b.messages, b.bytes]])));
      trouble(wrong, "");
      draw();
    },
    fail: (e) => trouble(wrong, `This list is not up to date: ${problem(e)}.`),
  });
  const more = publishers(ctx, () => depth);

  function anew(change) {
    change();
    flows = new Meter();
    poller.start();
  }

  function draw() {
    if (!answer) return;
    const found = holding(answer.busiest, wanted, (b) => [visible(b.topic)]);
    const missed = answer.missed > 0 ? `; ${words.count(answer.missed)} not told apart` : "";
    const most = answer.busiest.length === wantedTopics ? "the busiest " : "";
    setText(said, `${found.length === answer.busiest.length ? "" : `${words.count(found.length)} of `}${most}${words.amount(answer.busiest.length, depth ? "branch" : "topic", depth ? "branches" : "topics")}; ${words.amount(answer.messages, "message")}, ${words.size(answer.bytes)} of payload since the start${missed}`);
    table.show(sorted(found, values[table.sort.key], (b) => b.topic, table.sort.down), ctx.now(),
      answer.busiest.length === 0 ? "Nothing has been published since the start of the broker." : "No topic has that in its name.");
  }

  return {
    title: "Topics",
    root: el("div", {}, el("div", { class: "list-head" }, el("h1", { text: "Topics" }), levels, input), said, wrong, table.root),
    enter(item) {
      poller.start();
      if (item !== null) more.open(item);
      else more.close();
    },
    leave() {
      poller.stop();
      more.close();
    },
    update() {},
  };
}

function atLeast(on) {
  return on ? "≥" : "";
}

// publishers tells in a dialog who has published on a topic, or on a branch.
function publishers(ctx, depth) {
  let topic = null, filter = "";
  const table = new Table({
    caption: "Who has published", nothing: "Nobody is known: the broker remembers the topics that were published on last.", keyOf: (p) => `${p.topic}\0${p.client}`,
    columns: [
      { key: "client", title: "Client", class: "fill", fill: (cell, p) => {
        const link = only(cell, () => el("a", {}, name("")));
        setAttr(link, "href", p.client ? format("clients", p.client) : null);
        setName(link.firstChild, p.client || "(the broker)", 100);
      } },
      { key: "topic", title: "Topic", class: "fill p2", fill: (cell, p) => setName(only(cell, () => name("")), p.topic, 160) },
      { key: "user", title: "User", class: "p3", fill: (cell, p) => setName(only(cell, () => name("")), p.username ?? "", 30) },
      { key: "remote", title: "Address", class: "p3", fill: (cell, p) => setName(only(cell, () => name("")), p.remote ?? "", 40) },
      { key: "time", title: "When", class: "r", fill: (cell, p, now) => {
        const t = only(cell, () => el("time"));
        if (p.time) setTime(t, p.time, now);
        else setText(t, "before the start");
      } },
      { key: "size", title: "Size", class: "r p2", text: (p) => words.size(p.size) },
      { key: "qos", title: "QoS", class: "r", text: (p) => String(p.qos) },
    ],
  });
  const upper = el("p", { class: "said" });
  const kept = el("div");
  const body = el("div", {}, upper, table.root, kept);
  const poller = new Poller({
    interval: 2000,
    ask: (signal) => ctx.api.get(`/v1/publishers?top=50&filter=${encodeURIComponent(filter)}`, signal),
    take(found) {
      const list = found.list ?? [];
      const rows = list.flatMap((t) => (t.publishers ?? []).map((p) => ({ ...p, topic: t.topic })));
      setText(upper, found.total > list.length ? `The first ${words.count(list.length)} of ${words.amount(found.total, "topic")}` : "The last who have published, the latest first");
      table.show(rows, ctx.now());
      const r = list.length === 1 && list[0].topic === topic ? list[0].retained : null;
      kept.replaceChildren(...(r ? [el("h3", { text: "Retained message" }), facts([
        ["of", name(r.client || "(the broker)", 100)],
        ["size", `${words.size(r.size)}, QoS ${r.qos}`],
        ["since", r.since ? words.at(new Date(r.since)) : "before the start of the broker"],
        ["expires", r.expires ? `in ${words.span(r.expires)}` : "never"],
      ])] : []));
    },
    fail: (e) => setText(upper, problem(e)),
  });
  return {
    open(which) {
      if (topic === which) return;
      topic = which;
      filter = depth() > 0 ? `${which}/#` : which;
      setText(upper, "…");
      kept.replaceChildren();
      table.show([], ctx.now());
      details.open([name(topic, 300, "name wrap")], body, () => {
        poller.stop();
        topic = null;
        ctx.go("topics");
      });
      poller.start();
    },
    close() {
      if (topic === null) return;
      topic = null;
      poller.stop();
      details.close();
    },
  };
}
