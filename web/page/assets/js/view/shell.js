// What is around the views: head, tabs, banner, login, help, keys.

import { el, setAttr, setText } from "./dom.js";
import { views, format } from "../model/route.js";
import { findings, uplinkLevel, verdict } from "../model/health.js";
import { visible } from "../model/safe.js";
import { words } from "../model/words.js";

const $ = (id) => document.getElementById(id);
const titles = { overview: "Overview", clients: "Clients", topics: "Topics", sessions: "Sessions", drops: "Drops", bridges: "Bridges", events: "Events" };

export class Shell {
  #tabs = new Map();
  #told = new Set(); // problems that have been announced
  #lost = null;

  // actions: login(username, password), logout(), retry(), key(letter)
  constructor(actions) {
    this.actions = actions;
    for (const view of views) {
      const badge = el("span", { class: "badge" });
      const link = el("a", { href: format(view) }, titles[view], badge);
      this.#tabs.set(view, { link, badge });
      $("tabs").append(link);
    }
    this.#loginForm();
    this.#theme();
    this.#help();
    $("logout").addEventListener("click", () => actions.logout());
    $("banner-now").addEventListener("click", () => actions.retry());
    setInterval(() => this.#countdown(), 1000);
    addEventListener("keydown", (e) => this.#key(e));
  }

  // state is "starting", "login" or "in".
  state(state, why = "") {
    document.body.dataset.state = state;
    $("login").hidden = state !== "login";
    $("app").hidden = state !== "in";
    if (state === "login") {
      for (const d of document.querySelectorAll("dialog[open]")) d.close();
      setText($("login-why"), why || "Log in to look at this broker.");
      setText($("login-error"), "");
      $("login-password").value = "";
      ($("login-user").value ? $("login-password") : $("login-user")).focus();
      document.title = "edgebroker: log in";
    }
  }

  session(session) {
    setText($("user"), `${visible(session.username, 40)}${session.role === "admin" ? "" : " (may look only)"}`);
    setAttr($("user"), "title", visible(session.username, 200));
  }

  // at marks the view that is shown.
  at(view) {
    for (const [key, { link }] of this.#tabs) setAttr(link, "aria-current", key === view ? "page" : null);
    const link = this.#tabs.get(view).link;
    const bar = $("tabs");
    if (link.offsetLeft < bar.scrollLeft || link.offsetLeft + link.offsetWidth > bar.scrollLeft + bar.clientWidth) bar.scrollLeft = link.offsetLeft - 40;
    this.view = view;
  }

  update(snap) {
    const found = findings(snap, words);
    const v = verdict(found);
    if (this.#lost === null) {
      setText($("verdict"), v.text);
      setAttr($("verdict"), "data-level", v.level);
      setAttr($("verdict"), "title", found.map((f) => f.text).join("\n") || "nothing to look at");
      document.title = `${v.level === "good" ? "" : `(${found.length}) `}${titles[this.view] ?? ""} – edgebroker`;
    }
    setText($("broker"), `${visible(snap.version, 30)}, up ${words.span(snap.uptime)}`);
    this.#alarm(found.filter((f) => f.level === "bad").map((f) => f.text.replace(/\d+[dhms]?( \d+[dhms])*/g, "#")), found);
    const badge = (view, text, level = null) => {
      setText(this.#tabs.get(view).badge, text);
      setAttr(this.#tabs.get(view).badge, "data-level", level);
    };
    badge("clients", words.count(snap.clientCount));
    badge("sessions", words.count(snap.sessions.total));
    badge("drops", snap.dropped.total > 0 ? words.count(snap.dropped.total) : "");
    const list = snap.bridges ?? [];
    const up = list.filter((b) => b.state === "up").length;
    badge("bridges", list.length ? `${up} of ${list.length} up` : "", list.some((b) => uplinkLevel(b) === "bad") ? "bad" : up < list.length ? "warn" : null);
  }

  // lost says since when nobody answers, and when that is tried again (next: null: not by
  // itself); null that somebody does.
  lost(lost) {
    this.#lost = lost;
    document.body.toggleAttribute("data-stale", lost !== null);
    if (lost === null) {
      $("banner").hidden = true;
      return;
    }
    setText($("banner-text"), `No answer from the broker${lost.since ? ` since ${words.clock(lost.since)}` : ""}: ${visible(lost.why, 200)}. Numbers are of then.`);
    $("banner").hidden = false;
    this.#countdown();
    setText($("verdict"), "no answer");
    setAttr($("verdict"), "data-level", "none");
    document.title = "(no answer) edgebroker";
  }

  #countdown() {
    if (!this.#lost) return;
    if (this.#lost.next === null) {
      setText($("banner-next"), "");
      return;
    }
    const seconds = Math.ceil((this.#lost.next - Date.now()) / 1000);
    const node = $("banner-next");
    setAttr(node, "aria-live", "off");
    setText(node, seconds > 0 ? `Next try in ${words.span(seconds)}.` : "Trying …");
  }

  // alarm reads out problems that are new; kinds are their texts without numbers, which
  // change.
  #alarm(kinds, found) {
    const bad = found.filter((f) => f.level === "bad");
    const fresh = bad.filter((f, i) => !this.#told.has(kinds[i]));
    this.#told = new Set(kinds);
    if (fresh.length) $("alarm").textContent = fresh.map((f) => f.text).join(" ");
    else if (bad.length === 0) setText($("alarm"), "");
  }

  #loginForm() {
    $("login-form").addEventListener("submit", async (e) => {
      e.preventDefault();
      const button = $("login-form").querySelector("button");
      button.disabled = true;
      setText($("login-error"), "");
      const wrong = await this.actions.login($("login-user").value, $("login-password").value);
      button.disabled = false;
      if (wrong) {
        setText($("login-error"), visible(wrong, 300));
        $("login-password").select();
        $("login-password").focus();
      }
    });
  }

  #theme() {
    const root = document.documentElement;
    const choices = ["auto", "light", "dark"];
    const say = () => setText($("theme"), `Theme: ${root.dataset.themeChoice}`);
    this.turnTheme = () => {
      const next = choices[(choices.indexOf(root.dataset.themeChoice) + 1) % choices.length];
      dispatchEvent(new CustomEvent("themechoice", { detail: next }));
    };
    $("theme").addEventListener("click", this.turnTheme);
    addEventListener("themechange", say);
    say();
  }

  #help() {
    $("help-open").addEventListener("click", () => $("help").showModal());
    const box = $("keys-on");
    const key = "edgebroker-keys";
    try {
      box.checked = localStorage.getItem(key) !== "off";
    } catch {
      // storage is switched off
    }
    box.addEventListener("change", () => {
      try {
        localStorage.setItem(key, box.checked ? "on" : "off");
      } catch {
        // it holds until the page is closed
      }
    });
  }

  #key(e) {
    if (e.ctrlKey || e.metaKey || e.altKey || !$("keys-on").checked || document.body.dataset.state !== "in") return;
    if (document.querySelector("dialog[open]") || e.target.closest("input, select, textarea")) return;
    if (e.key === "?") $("help").showModal();
    else if (e.key === "t") this.turnTheme();
    else if (e.key === "/") {
      const field = document.querySelector("main [data-filter]");
      if (!field) return;
      field.focus();
    } else if (/^[1-9]$/.test(e.key) && views[e.key - 1]) location.hash = format(views[e.key - 1]);
    else if (!this.actions.key(e.key)) return;
    e.preventDefault();
  }
}
