// Uplinks: whether they are up, what waits for them, and pausing them.

import { changed, el, facts, name, setAttr, setText, setTime, tag } from "./dom.js";
import { confirmed, notice } from "./dialogs.js";
import { problem } from "../net/api.js";
import { uplinkLevel } from "../model/health.js";
import { Meter, brokerNow } from "../model/rates.js";
import { addressable, part, visible } from "../model/safe.js";
import { words } from "../model/words.js";

export function bridges(ctx) {
  const flows = new Meter();
  const cards = new Map();
  const said = el("p", { class: "said" });
  const grid = el("div", { class: "uplinks" });
  const nothing = el("p", { class: "nothing panel", text: "No uplinks are configured. “bridges” in the configuration passes messages on to another broker.", hidden: true });

  return {
    title: "Bridges",
    root: el("div", {}, el("div", { class: "list-head" }, el("h1", { text: "Bridges" })), said, grid, nothing),
    enter: () => {},
    leave: () => {},
    update(snap) {
      const list = snap.bridges ?? [];
      flows.read(snap.uptime, new Map(list.map((b) => [b.name, [b.acked, b.received.messages]])));
      nothing.hidden = list.length > 0;
      said.hidden = list.length === 0;
      const up = list.filter((b) => b.state === "up").length;
      setText(said, `${words.count(up)} of ${words.count(list.length)} up, ${words.count(list.reduce((n, b) => n + b.queued.messages, 0))} waiting`);
      const there = new Set(list.map((b) => b.name));
      for (const [key, card] of cards) if (!there.has(key)) (card.root.remove(), cards.delete(key));
      for (const b of list) {
        if (!cards.has(b.name)) cards.set(b.name, newCard(ctx, grid));
        cards.get(b.name).update(b, flows.perSecond(b.name), brokerNow(snap));
      }
    },
  };
}

function newCard(ctx, grid) {
  const title = el("h2", {}, name("", 60));
  const state = tag("", "none");
  const since = el("time", { class: "muted" });
  const why = el("p", { class: "why", hidden: true });
  const figure = (label, hint) => {
    const dd = el("dd", { class: "live" });
    return { dd, root: el("div", { title: hint }, el("dt", { text: label }), dd) };
  };
  const figures = { queued: figure("Queued", "messages that wait here"), acked: figure("Acked/s", "messages per second that the far side has taken over"), in: figure("In/s", "messages per second from the far side"), dropped: figure("Dropped", "messages lost by the limits of the queue, expiry or refusal") };
  const more = el("div");
  let button = null, now = null;
  if (ctx.isAdmin()) button = el("button", { type: "button", on: { click: () => pause(ctx, now, button) } });
  const root = el("section", { class: "panel uplink" }, el("header", {}, title, state, since, button), why, el("dl", { class: "figures" }, ...Object.values(figures).map((f) => f.root)), more);
  grid.append(root);
  return {
    root,
    update(b, rates, time) {
      now = b;
      setText(title.firstChild, visible(b.name, 60));
      setText(state, visible(b.state, 20));
      setAttr(state, "data-level", uplinkLevel(b));
      setTime(since, b.since, time);
      setText(since, `for ${words.span((time - Date.parse(b.since)) / 1000)}`);
      setText(why, visible(b.why ?? "", 300));
      why.hidden = !b.why;
      setAttr(why, "data-level", uplinkLevel(b));
      setText(figures.queued.dd, words.count(b.queued.messages));
      setText(figures.acked.dd, words.rate(rates?.[0] ?? null));
      setText(figures.in.dd, words.rate(rates?.[1] ?? null));
      setText(figures.dropped.dd, words.count(b.dropped));
      const lines = bridgeFacts(b, time);
      if (changed(more, lines)) more.replaceChildren(facts(lines));
      if (button) {
        const verb = b.state === "paused" ? "Resume" : "Pause";
        setText(button, verb);
        setAttr(button, "aria-label", `${verb} ${visible(b.name, 60)}`);
      }
    },
  };
}

function bridgeFacts(b, now) {
  const ago = (t) => (t ? words.ago(new Date(t), now) : "never");
  return [
    ["far side", `${visible(b.address, 120)} as ${visible(b.clientId, 60)}`],
    ["queued", `${words.size(b.queued.bytes)}${b.persistent ? ", survives a restart" : ", lost at a restart"}; ${words.count(b.inflight)} in flight${b.unanswered >= 1 ? `, unanswered for ${words.span(b.unanswered)}` : ""}`],
    ["sent", `${words.count(b.sent.messages)}, ${words.count(b.retried)} of them again, ${words.count(b.duplicates)} duplicates; ${words.count(b.acked)} acked`],
    ["received", `${words.count(b.received.messages)}${b.loops > 0 ? `; ${words.count(b.loops)} had been here` : ""}`],
    ["heard of", ago(b.lastHeard)],
    ["connects", `${words.count(b.connects)} of ${words.amount(b.attempts, "attempt")}`],
    b.lastError && b.lastError !== b.why ? ["last error", `${visible(b.lastError, 200)}, ${ago(b.lastErrorAt)}`] : null,
    b.refused > 0 || b.deadLetters > 0 ? ["refused", `${words.amount(b.refused, "message")}, ${words.amount(b.deadLetters, "dead letter")}: edgebroker bridges dead-letters ${visible(b.name, 60)}`] : null,
  ].filter(Boolean);
}

async function pause(ctx, b, button) {
  const resume = b.state === "paused";
  if (!addressable(b.name)) return;
  if (!resume) {
    const yes = await confirmed({
      title: ["Pause ", name(b.name, 60), "?"],
      text: "It is disconnected from the far side until it is resumed. What is meant for it waits here, within the limits of its queue.",
      yes: "Pause",
    });
    if (!yes) return;
  }
  button.disabled = true;
  try {
    await ctx.api.post(`/v1/bridges/${part(b.name)}/${resume ? "resume" : "pause"}`);
    notice(resume ? "Resumed " : "Paused ", name(b.name, 60));
  } catch (e) {
    notice(resume ? "Not resumed: " : "Not paused: ", problem(e));
  }
  button.disabled = false;
}
