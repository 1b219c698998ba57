// Charts of the latest minutes.

import uPlot from "/assets/uplot/uPlot.esm.js";
import { el, setAttr, setText } from "./dom.js";
import { words } from "../model/words.js";
import { names } from "../model/history.js";

const leastSpan = 60; // seconds that a chart shows at least

// Chart draws series of a history: {name, label, key, fill} with key one of "in",
// "out", "lost", "quiet"; the last lies on top. write words a value. log says that
// values are durations, drawn on a logarithmic scale; binary that they are bytes. span
// says how many seconds are shown, and charts with the same sync share their cursor.
export class Chart {
  #plot = null;
  #at = null; // place of the cursor

  constructor({ title, series, write, log = false, binary = false, history, span, sync }) {
    Object.assign(this, { title, write, log, binary, history, span, sync });
    this.series = series.map((s) => ({ ...s, column: 1 + names.indexOf(s.name) }));
    this.values = series.map(() => el("b", { text: "–" }));
    const keys = series.map((s, i) => el("span", { class: "chart-key" }, el("i", { class: s.key }), s.label + " ", this.values[i]));
    this.box = el("div", { class: "plot", role: "img", "aria-label": title });
    this.root = el("section", { class: "panel chart" }, el("div", { class: "chart-head" }, el("h2", { text: title }), ...keys), this.box);
    new ResizeObserver(() => this.#fit()).observe(this.box);
  }

  // draw shows the history as it is.
  draw() {
    if (!this.box.isConnected || this.box.clientWidth === 0) return;
    if (!this.#plot) this.#make();
    else this.#plot.setData(this.#data());
    this.#say();
  }

  // forget makes it be drawn anew, in other colours.
  forget() {
    this.#plot?.destroy();
    this.#plot = null;
  }

  #data() {
    return [this.history.columns[0], ...this.series.map((s) => this.history.columns[s.column])];
  }

  #fit() {
    if (!this.#plot) this.draw();
    else if (this.box.clientWidth > 0) this.#plot.setSize({ width: this.box.clientWidth, height: this.box.clientHeight });
  }

  #say() {
    const column = (s) => this.history.columns[s.column];
    const last = this.history.columns[0].length - 1;
    const at = this.#at !== null && this.#at <= last ? this.#at : last;
    this.series.forEach((s, i) => setText(this.values[i], this.write(column(s)[at] ?? null)));
    const told = this.series.map((s) => `${s.label} ${this.write(column(s)[last] ?? null)} now, ${this.write(this.history.highest(s.name))} at most`);
    setAttr(this.box, "aria-label", `${this.title}: ${told.join("; ")}`);
  }

  #make() {
    const style = getComputedStyle(document.documentElement);
    const colour = (key) => style.getPropertyValue(`--${key}`).trim();
    const font = `11px ${style.getPropertyValue("--sans")}`;
    const axis = { stroke: colour("muted"), font, grid: { stroke: colour("line"), width: 1 }, ticks: { show: false } };
    const steps = uPlot.paths.stepped({ align: -1 });
    const range = (u, min, max) => {
      const xs = this.history.columns[0];
      if (xs.length === 0) return [0, leastSpan];
      const last = xs[xs.length - 1];
      return [Math.min(last - leastSpan, Math.max(xs[0], last - this.span())), last];
    };
    this.#plot = new uPlot({
      width: this.box.clientWidth,
      height: this.box.clientHeight,
      padding: [8, 4, 0, 0],
      legend: { show: false },
      cursor: { y: false, sync: { key: this.sync }, drag: { x: false, y: false }, points: { size: 6 } },
      scales: {
        x: { range },
        y: this.log
          ? { distr: 3, log: 10, range: (u, min, max) => [Math.min(10 ** Math.floor(Math.log10(min || 1e-5)), 1e-5), Math.max(10 ** Math.ceil(Math.log10(max || 1e-3)), 1e-3)] }
          : { range: (u, min, max) => [0, max > 0 ? max * 1.1 : 10] },
      },
      axes: [
        { ...axis, size: 28, gap: 8, space: 70, values: (u, ticks) => ticks.map((t) => (t % 60 === 0 ? clockMinutes(t) : clockSeconds(t))) },
        {
          ...axis, size: 66, space: 32, gap: 8,
          values: (u, ticks) => ticks.map((v) => (v === null || (this.log && !decade(v)) ? "" : this.write(v))),
          ...(this.binary ? { incrs: Array.from({ length: 50 }, (_, i) => 2 ** i) } : {}),
          ...(this.log ? { filter: decades, grid: { ...axis.grid, filter: decades } } : {}),
        },
      ],
      series: [{}, ...this.series.map((s) => ({
        label: s.label,
        stroke: colour(s.key),
        width: 1.5,
        fill: s.fill ? colour(s.key) + "1f" : undefined,
        paths: this.log ? steps : undefined,
        points: { show: false },
      }))],
      hooks: {
        setCursor: [(u) => {
          this.#at = u.cursor.idx ?? null;
          this.#say();
        }],
      },
    }, this.#data(), this.box);
  }
}

function decades(u, splits) {
  return splits.map((v) => (decade(v) ? v : null));
}

function decade(v) {
  const exponent = Math.log10(v);
  return Math.abs(exponent - Math.round(exponent)) < 1e-6;
}

const minutes = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });

function clockMinutes(t) {
  return minutes.format(new Date(t * 1000));
}

function clockSeconds(t) {
  return words.clock(new Date(t * 1000));
}
