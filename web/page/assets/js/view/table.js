// Tables whose rows stay with what they show.

import { el, setAttr, setText } from "./dom.js";
import { pageOf } from "../model/order.js";
import { words } from "../model/words.js";

const pageSize = 100; // rows in the document at one time

// Table shows a list. columns are
//
//   key      of the column
//   title    above it
//   hint     what the title means
//   class    of its cells: "r" right, "p2" to "p4" by how much it matters
//   fill     fill(cell, item, now) puts into a cell what is to be seen; or
//   text     text(item) is that, which is safe to show
//   down     sortable; true if the first click puts the largest first
//
// The first column is the header of its row. keyOf names an item, levelOf gives the level
// of its row. onSort is called with {key, down} when somebody asks for another order.
export class Table {
  #rows = new Map(); // by key
  #page = 0;
  #list = [];

  constructor({ caption, columns, keyOf, levelOf = () => null, nothing, onSort = () => {}, className = "", sort = null }) {
    Object.assign(this, { columns, keyOf, levelOf, onSort, sort });
    this.heads = columns.map((c) => this.#head(c));
    this.body = el("tbody", { role: "rowgroup" });
    // Roles are said, since a narrow screen shows some tables as blocks.
    const table = el("table", { class: `list ${className}`, role: "table" }, el("caption", { text: caption }), el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, ...this.heads)), this.body);
    this.scroll = el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption }, table);
    this.empty = el("p", { class: "nothing", text: nothing, hidden: true });
    this.back = el("button", { type: "button", text: "Previous", on: { click: () => this.#turn(-1) } });
    this.next = el("button", { type: "button", text: "Next", on: { click: () => this.#turn(1) } });
    this.said = el("span");
    this.pager = el("div", { class: "pager", hidden: true }, this.back, this.next, this.said);
    this.root = el("div", {}, el("div", { class: "panel" }, this.scroll, this.empty), this.pager);
    this.#mark();
  }

  // show shows a list, of which the document holds one page. nothing says why there are
  // no rows, if that has changed.
  show(list, now, nothing = null) {
    this.#list = list;
    this.now = now;
    if (nothing !== null) setText(this.empty, nothing);
    this.#draw();
  }

  // first turns to the first page.
  first() {
    this.#page = 0;
  }

  #turn(by) {
    this.#page += by;
    this.#draw();
    this.scroll.scrollIntoView({ block: "nearest" });
  }

  #draw() {
    const p = pageOf(this.#list, this.#page, pageSize);
    this.#page = p.page;
    const focused = this.body.contains(document.activeElement) ? document.activeElement : null;
    const before = this.#rows;
    this.#rows = new Map();
    let place = this.body.firstElementChild;
    for (const item of p.rows) {
      const key = this.keyOf(item);
      let row = before.get(key);
      if (row) before.delete(key);
      else row = this.#row();
      this.#rows.set(key, row);
      this.#fill(row, item);
      if (row === place) place = place.nextElementSibling;
      else this.body.insertBefore(row, place);
    }
    for (const row of before.values()) row.remove();
    if (focused && focused !== document.activeElement && focused.isConnected) focused.focus({ preventScroll: true });
    this.scroll.hidden = p.total === 0;
    this.empty.hidden = p.total !== 0;
    this.pager.hidden = p.pages === 1;
    this.back.disabled = p.page === 0;
    this.next.disabled = p.page === p.pages - 1;
    setText(this.said, `${words.full(p.first + 1)} to ${words.full(p.first + p.rows.length)} of ${words.full(p.total)}`);
  }

  #row() {
    return el("tr", { role: "row" }, ...this.columns.map((c, i) => (i === 0 ? el("th", { scope: "row", role: "rowheader", class: c.class }) : el("td", { role: "cell", class: c.class }))));
  }

  #fill(row, item) {
    row.item = item;
    setAttr(row, "data-level", this.levelOf(item));
    this.columns.forEach((c, i) => {
      const cell = row.cells[i];
      if (c.fill) {
        c.fill(cell, item, this.now);
        return;
      }
      const text = c.text(item);
      setText(cell, text);
      cell.classList.toggle("zero", text === "0" || text === "–");
    });
  }

  #head(c) {
    if (c.down === undefined) return el("th", { scope: "col", role: "columnheader", class: c.class, title: c.hint }, c.title === "" ? el("span", { class: "unseen", text: c.name }) : c.title);
    const button = el("button", { type: "button", class: "sort", text: c.title, title: c.hint, on: { click: () => this.#sortBy(c) } });
    return el("th", { scope: "col", role: "columnheader", class: c.class }, button);
  }

  #sortBy(c) {
    this.sort = { key: c.key, down: this.sort?.key === c.key ? !this.sort.down : c.down };
    this.#page = 0;
    this.#mark();
    this.onSort(this.sort);
  }

  #mark() {
    this.columns.forEach((c, i) => {
      const on = this.sort?.key === c.key && c.down !== undefined;
      setAttr(this.heads[i], "aria-sort", on ? (this.sort.down ? "descending" : "ascending") : null);
    });
  }
}

// only returns what make makes the first time, and the same later: a cell's content that
// stays, so that it keeps the focus.
export function only(cell, make) {
  if (!cell.firstElementChild) cell.append(make());
  return cell.firstElementChild;
}

// itemOf is what the row of a node shows now.
export function itemOf(node) {
  return node.closest("tr").item;
}
