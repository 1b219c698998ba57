// Untrusted text (client ids, topics, reasons of others) made fit to be shown.

const plain = /^[\p{L}\p{M}\p{N}\p{P}\p{S} ]$/u;
const unseen = /^[\p{Default_Ignorable_Code_Point}\u2800]$/u;
const mark = /^\p{M}$/u;
const mostMarks = 2; // on one character: more of them cover the lines above

// visible returns text in which everything that cannot be seen, or that changes
// how the rest is seen, stands as an escape, as the command line writes it: "\x1b",
// "\u{202e}", and "\\" for a backslash. Of text with more than most characters the
// first are returned, with "…" at the end; 0 cuts nothing.
export function visible(text, most = 0) {
  let out = "", width = 0, marks = mostMarks;
  for (const c of String(text ?? "")) {
    const code = c.codePointAt(0);
    const isMark = mark.test(c);
    marks = isMark ? marks + 1 : 0;
    let piece = c;
    if (c === "\\") piece = "\\\\";
    else if (code < 0x20 || code === 0x7f) piece = "\\x" + code.toString(16).padStart(2, "0");
    else if (!plain.test(c) || unseen.test(c) || (isMark && marks > mostMarks)) piece = `\\u{${code.toString(16)}}`;
    if (most > 0 && width + piece.length > most) return out + "…";
    out += piece;
    width += piece.length;
  }
  return out;
}

// addressable reports whether a browser can ask for a thing of that name as one
// segment of a path: it takes "." and ".." for folders, however they are written.
export function addressable(name) {
  return name !== "" && name !== "." && name !== "..";
}

// part makes any name one segment of a path, or one value of a query. Names that are
// not addressable can be values only.
export function part(name) {
  return encodeURIComponent(wellFormed(name));
}

// wellFormed replaces halves of characters, of which no URL can be made.
function wellFormed(text) {
  return text.replace(/[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g, "\ufffd");
}
