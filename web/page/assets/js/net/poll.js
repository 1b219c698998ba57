// A list that is asked for again and again while somebody looks.

import { pause } from "../model/backoff.js";

// Poller calls ask() and then take(answer), or fail(error), until it is stopped. A list
// that takes long to come is asked for less often.
export class Poller {
  #timer = null;
  #run = null;

  constructor({ ask, take, fail, interval }) {
    Object.assign(this, { ask, take, fail, interval });
  }

  // start asks now, and again later; also to ask anew what has changed.
  start() {
    this.stop();
    this.#once((this.#run = new AbortController()));
  }

  stop() {
    clearTimeout(this.#timer);
    this.#run?.abort();
    this.#run = null;
  }

  async #once(run) {
    const begun = performance.now();
    let rows = 0;
    try {
      const answer = await this.ask(run.signal);
      rows = Array.isArray(answer) ? answer.length : 0;
      if (this.#run === run) this.take(answer);
    } catch (e) {
      if (this.#run === run) this.fail(e);
    }
    if (this.#run === run) this.#timer = setTimeout(() => this.#once(run), pause(this.interval, performance.now() - begun, rows));
  }
}
