// Elements. Text always comes in as text: nothing here reads HTML.

import { visible } from "../model/safe.js";
import { words } from "../model/words.js";

// el makes an element. Properties: class, text, on (handlers by event), any other is an
// attribute; false and null leave it out.
export function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (key === "class") node.className = value;
    else if (key === "text") node.textContent = value;
    else if (key === "on") for (const [type, fn] of Object.entries(value)) node.addEventListener(type, fn);
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.filter((c) => c !== null && c !== undefined));
  return node;
}

// setText changes the text of a node if it is another.
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// changed reports whether a value, as JSON, is another than the last time for this node.
const latest = new WeakMap();
export function changed(node, value) {
  const text = JSON.stringify(value);
  if (latest.get(node) === text) return false;
  latest.set(node, text);
  return true;
}

// setAttr changes an attribute if it is another; null removes it.
export function setAttr(node, key, value) {
  if (value === null) {
    if (node.hasAttribute(key)) node.removeAttribute(key);
  } else if (node.getAttribute(key) !== value) node.setAttribute(key, value);
}

const longestTitle = 1000; // characters

// setName makes node show an untrusted name, cut after most characters, with all of it
// in the title if it was.
export function setName(node, text, most = 100) {
  const shown = visible(text, most) || "–";
  setText(node, shown);
  setAttr(node, "title", shown.endsWith("…") ? visible(text, longestTitle) : null);
  return node;
}

// name is an element that shows an untrusted name. Its direction is its own.
export function name(text, most = 100, className = "name") {
  return setName(el("bdi", { class: className }), text, most);
}

// setTime makes a <time> say how long ago something was.
export function setTime(node, text, now) {
  const time = text ? new Date(text) : null;
  if (!time || Number.isNaN(time.getTime())) {
    setText(node, "–");
    setAttr(node, "title", null);
    return node;
  }
  setText(node, words.ago(time, now));
  setAttr(node, "datetime", time.toISOString());
  setAttr(node, "title", `${words.at(time)} (${time.toISOString()})`);
  return node;
}

// facts makes a list of terms and what is to be said of them: [term, text or node].
export function facts(pairs) {
  return el("dl", { class: "facts" }, ...pairs.filter(Boolean).flatMap(([term, value]) => [
    el("dt", { text: term }),
    typeof value === "string" ? el("dd", { text: value }) : el("dd", {}, value),
  ]));
}

// tag is a word with a level.
export function tag(text, level) {
  return el("span", { class: "tag", "data-level": level, text });
}
