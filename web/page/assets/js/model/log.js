// The latest events, the newest first, in bounded space.

const foldFor = 10_000; // milliseconds
const remember = 10; // times as many events are known again as are kept

// foldKey tells which drops become one row: those of one client for one reason. A queue
// that is full would push everything else out of sight.
function foldKey(e) {
  return e.type === "drop" ? `${e.data?.clientId}\0${e.data?.reason}` : null;
}

// fold is the row of the events of a and b, the later one.
function fold(a, b) {
  return { ...a, data: { ...a.data, count: a.data.count + b.data.count, others: a.data.others || b.data.topic !== a.data.topic || b.data.publisher !== a.data.publisher } };
}

// Log keeps most events. Drops of one client for one reason within ten seconds are one
// row, in the place of the first of them. While it is paused what is shown stays, and
// what comes is kept beside it.
export class Log {
  #most;
  #list = [];
  #shown = null; // while paused
  #missed = 0;
  #seen = new Set(); // identifiers of the latest events, the oldest first
  #folds = new Map(); // by key: the row that takes in what is like it

  constructor(most) {
    this.#most = most;
  }

  // add takes in events, the oldest first. One that is here already is left out.
  add(events) {
    for (const e of events) {
      if (this.#seen.has(e.id)) continue;
      if (this.#shown) this.#missed++;
      this.#seen.add(e.id);
      if (this.#folded(e)) continue;
      this.#list.unshift(e);
    }
    for (const e of this.#list.splice(this.#most)) {
      const key = foldKey(e);
      if (key !== null && this.#folds.get(key) === e) this.#folds.delete(key);
    }
    for (const id of this.#seen) {
      if (this.#seen.size <= remember * this.#most) break;
      this.#seen.delete(id);
    }
  }

  clear() {
    this.#list = [];
    this.#seen.clear();
    this.#folds.clear();
    if (this.#shown) this.#shown = [];
    this.#missed = 0;
  }

  // folded adds e to a row that is there, if there is one for it.
  #folded(e) {
    const key = foldKey(e);
    if (key === null) return false;
    const row = this.#folds.get(key);
    if (!row || Date.parse(e.timestamp) - Date.parse(row.timestamp) >= foldFor) {
      this.#folds.set(key, e);
      return false;
    }
    const both = fold(row, e);
    this.#list[this.#list.indexOf(row)] = both;
    this.#folds.set(key, both);
    return true;
  }

  pause(on) {
    this.#shown = on ? [...this.#list] : null;
    this.#missed = 0;
  }

  get paused() {
    return this.#shown !== null;
  }

  // missed is how many have come since it was paused.
  get missed() {
    return this.#missed;
  }

  get shown() {
    return this.#shown ?? this.#list;
  }
}
