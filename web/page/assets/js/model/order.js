// Which rows of a list are shown, and in which order.

// compareText orders names by their characters, as the broker does.
function compareText(a, b) {
  return a < b ? -1 : a > b ? 1 : 0;
}

// sorted is a copy of list by value, which gives a number or a text for an item;
// equal ones are in the order of their name. Descending if down is true: then what
// has no value (null) is last all the same.
export function sorted(list, value, name, down) {
  return list
    .map((item) => ({ item, v: value(item), n: name(item) }))
    .sort((a, b) => {
      if (a.v === null || b.v === null) return (a.v === null) - (b.v === null) || compareText(a.n, b.n);
      const order = typeof a.v === "string" ? compareText(a.v, b.v) : a.v === b.v ? 0 : a.v - b.v;
      return (down ? -order : order) || compareText(a.n, b.n);
    })
    .map((x) => x.item);
}

// holding is the items of which one text has what was asked for in it, whatever the
// case.
export function holding(list, wanted, texts) {
  const want = wanted.trim().toLowerCase();
  return want === "" ? list : list.filter((item) => texts(item).some((s) => s.toLowerCase().includes(want)));
}

// pageOf is one page of a list: pages count from 0, and one that is not there is the
// nearest that is.
export function pageOf(list, page, size) {
  const pages = Math.max(1, Math.ceil(list.length / size));
  const at = Math.min(Math.max(0, page), pages - 1);
  const first = at * size;
  return { rows: list.slice(first, first + size), page: at, pages, first, total: list.length };
}
