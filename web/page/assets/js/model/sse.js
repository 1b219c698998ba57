// The text/event-stream format, as the HTML standard defines it.

// Parser takes text as it comes and calls take({event, id, data}) for each event, and
// beat() for each comment.
export class Parser {
  #rest = "";
  #event = "";
  #id = "";
  #data = [];

  constructor(take, beat = () => {}) {
    this.take = take;
    this.beat = beat;
  }

  push(text) {
    this.#rest += text;
    for (;;) {
      const end = this.#rest.search(/\r\n|\n|\r(?=[^\n])/);
      if (end < 0) return;
      const line = this.#rest.slice(0, end);
      this.#rest = this.#rest.slice(end + (this.#rest.startsWith("\r\n", end) ? 2 : 1));
      this.#line(line);
    }
  }

  #line(line) {
    if (line === "") {
      if (this.#data.length > 0) this.take({ event: this.#event || "message", id: this.#id, data: this.#data.join("\n") });
      this.#event = "";
      this.#data = [];
      return;
    }
    if (line.startsWith(":")) {
      this.beat();
      return;
    }
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "event") this.#event = value;
    else if (field === "data") this.#data.push(value);
    else if (field === "id" && !value.includes("\0")) this.#id = value;
  }
}
