// The place in the page that the hash of its address names.

export const views = ["overview", "clients", "topics", "sessions", "drops", "bridges", "events"];

// parse reads a hash such as "#/clients/pump-7": a view and, below it, one thing. What
// cannot be read is the overview.
export function parse(hash) {
  const [, view, ...rest] = hash.replace(/^#/, "").split("/");
  if (!views.includes(view)) return { view: views[0], item: null };
  if (rest.length === 0) return { view, item: null };
  try {
    return { view, item: decodeURIComponent(rest.join("/")) };
  } catch {
    return { view, item: null };
  }
}

// format is the hash of a place.
export function format(view, item = null) {
  if (item === null) return `#/${view}`;
  return `#/${view}/${encodeURIComponent(item)}`;
}
