// A stream of events that is opened again when it breaks.

import { Parser } from "../model/sse.js";
import { delay } from "../model/backoff.js";
import { Refused, problem } from "./api.js";

// Follower keeps a stream open from start() to stop(). What happens is told to tell:
//
//   item(value, event)   an event has come
//   state("connecting" | "live" | "lost" | "refused", detail)
//
// lost: detail is {why, next}, next being when it tries again in milliseconds of clock.
// refused: detail is the Refused; it does not try again by itself. clock has now(),
// set(fn, ms), clear(timer) and random().
export class Follower {
  #api;
  #tell;
  #clock;
  #run = null; // {controller} of the attempt that counts
  #timer = null; // of the next attempt
  #attempt = 0;

  constructor(api, tell, clock) {
    this.#api = api;
    this.#tell = tell;
    this.#clock = clock;
  }

  // start follows path; silence is after how many milliseconds without a word the
  // stream counts as broken. path may be a function that is called for each attempt.
  start(path, silence) {
    this.stop();
    this.path = path;
    this.silence = silence;
    this.#attempt = 0;
    this.#try();
  }

  stop() {
    this.#clock.clear(this.#timer);
    this.#timer = null;
    const run = this.#run;
    this.#run = null;
    run?.controller.abort();
  }

  // now tries at once if it waits.
  now() {
    if (this.#timer === null) return;
    this.#clock.clear(this.#timer);
    this.#timer = null;
    this.#try();
  }

  get running() {
    return this.#run !== null || this.#timer !== null;
  }

  async #try() {
    const run = { controller: new AbortController(), why: "" };
    this.#run = run;
    this.#tell.state("connecting", null);
    let watch = null;
    const heard = () => {
      this.#clock.clear(watch);
      watch = this.#clock.set(() => {
        run.why = "the broker has fallen silent";
        run.controller.abort();
      }, this.silence);
    };
    heard();
    let error;
    try {
      const path = typeof this.path === "function" ? this.path() : this.path;
      const response = await this.#api.open(path, run.controller.signal);
      if (this.#run !== run) return;
      heard();
      this.#tell.state("live", null);
      this.#attempt = 0;
      await this.#read(response, run, heard);
      error = new Error("the broker has ended the connection");
    } catch (e) {
      error = e;
    } finally {
      this.#clock.clear(watch);
    }
    if (this.#run === run) this.#failed(error, run.why);
  }

  async #read(response, run, heard) {
    const parser = new Parser((e) => {
      if (this.#run === run) this.#tell.item(JSON.parse(e.data), e.event);
    });
    const decoder = new TextDecoder();
    const reader = response.body.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done || this.#run !== run) return;
      heard();
      parser.push(decoder.decode(value, { stream: true }));
    }
  }

  #failed(error, why) {
    this.#run = null;
    if (error instanceof Refused && error.status < 500 && error.status !== 429) {
      this.#tell.state("refused", error);
      return;
    }
    const wait = delay(this.#attempt++, this.#clock.random);
    this.#timer = this.#clock.set(() => {
      this.#timer = null;
      this.#try();
    }, wait);
    const told = error instanceof Refused ? problem(error) : why || error.message;
    this.#tell.state("lost", { why: told, next: this.#clock.now() + wait });
  }
}

// browserClock is the clock of a browser.
export function browserClock() {
  return { now: () => Date.now(), set: (fn, ms) => setTimeout(fn, ms), clear: (t) => clearTimeout(t), random: Math.random };
}
