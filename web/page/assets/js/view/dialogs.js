// What is asked and told beside the views.

import { el, setText } from "./dom.js";

const $ = (id) => document.getElementById(id);

// confirmed asks a question and resolves to whether it was said yes to.
export function confirmed({ title, text, yes }) {
  const dialog = $("confirm");
  $("confirm-title").replaceChildren(...title);
  $("confirm-text").textContent = text;
  $("confirm-yes").textContent = yes;
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

// notice says for a while what became of something that somebody did.
let fading = null;
export function notice(...parts) {
  const node = $("notice");
  node.replaceChildren(...parts);
  clearTimeout(fading);
  fading = setTimeout(() => node.replaceChildren(), 8000);
}

// details is the dialog that says more of one thing. open shows it with a title and a
// body; onClose is called when it is closed by whoever reads it.
export const details = {
  open(title, body, onClose) {
    const dialog = $("details");
    $("details-title").replaceChildren(...title);
    $("details-body").replaceChildren(body);
    // The event of an earlier closing may come when it is open again.
    dialog.onclose = () => dialog.open || onClose();
    $("details-close").onclick = () => dialog.close();
    if (!dialog.open) dialog.showModal();
  },
  close() {
    const dialog = $("details");
    dialog.onclose = null;
    if (dialog.open) dialog.close();
  },
};

// search is a field that filters a list.
export function search(label, onInput) {
  const input = el("input", { type: "search", placeholder: label, "aria-label": label, spellcheck: "false", autocomplete: "off", "data-filter": true });
  input.addEventListener("input", () => onInput(input.value));
  return input;
}

// trouble says in node why what a view shows is not up to date; "" that it is.
export function trouble(node, text) {
  setText(node, text);
  node.hidden = text === "";
}
