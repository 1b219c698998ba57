// What happens, as it happens.

import { el, setAttr, setText, tag } from "./dom.js";
import { Table, only } from "./table.js";
import { search, trouble } from "./dialogs.js";
import { Follower, browserClock } from "../net/follow.js";
import { problem } from "../net/api.js";
import { eventText, level, quiet, types } from "../model/eventtext.js";
import { Log } from "../model/log.js";
import { holding } from "../model/order.js";
import { visible } from "../model/safe.js";
import { words } from "../model/words.js";

const kept = 500; // events
const recent = 10 * 60; // seconds back that are shown at first
const silence = 60_000; // milliseconds: longer than the broker's heartbeat

export function events(ctx) {
  const log = new Log(kept);
  let wanted = "", about = "", on = new Set(quiet), from = null, waiting = [], drawing = false, recorded = true;
  const said = el("p", { class: "said" });
  const wrong = el("p", { class: "said trouble", hidden: true });
  const table = new Table({
    caption: "Events, the latest first", className: "events", nothing: "…", keyOf: (e) => e.id, levelOf: (e) => level(e) || null,
    columns: [
      { key: "when", title: "Time", class: "when", fill: (cell, e) => {
        const t = only(cell, () => el("time"));
        const time = new Date(e.timestamp);
        setText(t, words.clock(time));
        setAttr(t, "datetime", e.timestamp);
        setAttr(t, "title", `${words.at(time)} (${e.timestamp})`);
      } },
      { key: "type", title: "Type", class: "type", fill: (cell, e) => {
        const t = only(cell, () => tag("", "none"));
        setText(t, visible(e.type, 40));
        setAttr(t, "data-level", level(e) || "none");
      } },
      { key: "text", title: "What happened", class: "wrap", fill: (cell, e) => {
        const t = only(cell, () => el("bdi", { class: "name" }));
        setText(t, visible(eventText(e, words), 600));
      } },
    ],
  });
  const boxes = new Map();
  const chips = el("div", { class: "chips", role: "group", "aria-label": "Types of events" }, ...types.map((type) => {
    const box = el("input", { type: "checkbox", checked: on.has(type), on: { change: (e) => choose(type, e.target.checked) } });
    boxes.set(type, box);
    return el("label", { title: type === "message" ? "costs the broker something for each message" : null }, box, type);
  }));
  const input = search("Filter by text", (text) => {
    wanted = text;
    draw();
  });
  input.classList.add("half");
  const whose = el("input", { type: "search", class: "half", placeholder: "Client, exactly", "aria-label": "Client, exactly", spellcheck: "false", autocomplete: "off", on: { change: (e) => ask(e.target.value) } });
  const pauseButton = el("button", { type: "button", text: "Pause", "aria-pressed": "false", on: { click: pause } });
  const clear = el("button", { type: "button", text: "Clear", on: { click: () => {
    log.clear();
    waiting = [];
    from = ctx.now(); // what is cleared does not come back
    draw();
  } } });

  const follower = new Follower(ctx.api, {
    item(e) {
      waiting.push(e);
      soon();
    },
    state(state, detail) {
      if (state === "refused" && recorded && detail.status !== 401 && detail.status !== 403) {
        recorded = false; // it keeps no events: those that happen, then
        start();
        return;
      }
      trouble(wrong, state === "refused" ? `No events: ${problem(detail)}.` : state === "lost" ? `Not up to date: ${detail.why}.` : "");
      if (state === "live") draw();
    },
  }, browserClock());

  function path() {
    const q = new URLSearchParams();
    for (const type of on) q.append("type", type);
    if (about) q.set("client", about);
    if (recorded) {
      const since = log.shown.length > 0 && !log.paused ? new Date(Date.parse(log.shown[0].timestamp)) : from ?? new Date(ctx.now() - recent * 1000);
      q.set("since", since.toISOString());
      q.set("follow", "true");
    }
    return `/v1/events?${q}`;
  }

  function start() {
    if (on.size === 0) {
      follower.stop();
      draw();
    } else follower.start(path, silence);
  }

  // anew asks for other events: what has come belongs to the question before.
  function anew() {
    log.clear();
    waiting = [];
    start();
    draw();
  }

  function choose(type, checked) {
    if (checked) on.add(type);
    else on.delete(type);
    boxes.get(type).checked = checked;
    anew();
  }

  function ask(id) {
    about = id;
    whose.value = id;
    anew();
  }

  function pause() {
    log.pause(!log.paused);
    setAttr(pauseButton, "aria-pressed", String(log.paused));
    draw();
  }

  // soon draws what has come since, at most a few times a second.
  function soon() {
    if (drawing) return;
    drawing = true;
    setTimeout(() => {
      drawing = false;
      log.add(waiting);
      waiting = [];
      draw();
    }, 250);
  }

  function draw() {
    const found = holding(log.shown, wanted, (e) => [e.type, visible(eventText(e, words))]);
    const many = log.shown.length === kept ? `the latest ${words.count(kept)} events` : words.amount(log.shown.length, "event");
    setText(said, `${found.length === log.shown.length ? "" : `${words.count(found.length)} of `}${many}${log.paused ? `; paused, ${words.count(log.missed)} have come since` : ""}`);
    table.show(found, ctx.now(), on.size === 0 ? "Choose a type of event." : log.shown.length > 0 ? "No event has that in its text." : "Nothing has happened in the last ten minutes. What happens will stand here.");
  }

  return {
    title: "Events",
    root: el("div", {}, el("div", { class: "list-head many" }, el("h1", { text: "Events" }), pauseButton, clear, whose, input), chips, said, wrong, table.root),
    enter(item) {
      draw();
      if (item !== null && item !== about) ask(item);
      else start();
    },
    leave: () => follower.stop(),
    update() {},
    keys: { p: pause, m: () => choose("message", !on.has("message")) },
  };
}
