// Numbers, sizes and times in words, in the reader's locale.

// makeWords returns the functions for a locale; undefined is the browser's.
export function makeWords(locale) {
  const number = (options) => new Intl.NumberFormat(locale, options);
  const whole = number({ maximumFractionDigits: 0 });
  const tenths = number({ minimumFractionDigits: 1, maximumFractionDigits: 1 });
  const hundredths = number({ minimumFractionDigits: 2, maximumFractionDigits: 2 });
  const compact = number({ notation: "compact", maximumFractionDigits: 1 });
  const percents = number({ style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 1 });
  const moment = new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeStyle: "medium" });
  const clockTime = new Intl.DateTimeFormat(locale, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });

  // digits writes v with three digits, 0 with one.
  const digits = (v) => (v >= 99.95 || v === 0 ? whole : v >= 9.995 ? tenths : hundredths).format(v);
  // few writes v with at most three.
  const few = number({ maximumSignificantDigits: 3 });

  const w = {
    // full is every digit of a number of things.
    full: (n) => whole.format(n),

    // count is a number of things: every digit up to a million.
    count: (n) => (n < 1e6 ? whole : compact).format(n),

    // amount is count, with the noun.
    amount: (n, one, many = one + "s") => `${w.count(n)} ${n === 1 ? one : many}`,

    // rate is a number per second; "–" if it is not known.
    rate: (v) => {
      if (v === null || v === undefined) return "–";
      if (v > 0 && v < 0.005) return "<" + hundredths.format(0.01);
      return v >= 1e6 ? compact.format(v) : digits(v);
    },

    // size is a number of bytes.
    size: (v) => {
      if (v === null || v === undefined) return "–";
      const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
      let i = 0;
      for (; v >= 1023.5 && i < units.length - 1; i++) v /= 1024;
      return `${i === 0 ? whole.format(v) : digits(v)} ${units[i]}`;
    },

    // share is a part of a whole; "–" if the whole is nothing.
    share: (part, all) => (all > 0 ? percents.format(part / all) : "–"),

    // span is a duration in seconds, for people.
    span: (seconds) => {
      const s = Math.max(0, Math.round(seconds));
      const pad = (n) => String(n).padStart(2, "0");
      if (s >= 86400) return `${whole.format(Math.floor(s / 86400))}d ${pad(Math.floor((s % 86400) / 3600))}h`;
      if (s >= 3600) return `${Math.floor(s / 3600)}h ${pad(Math.floor((s % 3600) / 60))}m`;
      if (s >= 60) return `${Math.floor(s / 60)}m ${pad(s % 60)}s`;
      return `${s}s`;
    },

    // brief is a short duration in seconds: "64 µs".
    brief: (seconds) => {
      if (seconds === null || seconds === undefined) return "–";
      if (seconds < 0.9995e-3) return `${whole.format(seconds * 1e6)} µs`;
      if (seconds < 0.9995) return `${few.format(seconds * 1e3)} ms`;
      return `${few.format(seconds)} s`;
    },

    // ago says how long before now a time was; both are Dates.
    ago: (time, now) => {
      const seconds = (now - time) / 1000;
      return seconds < -1 ? `in ${w.span(-seconds)}` : seconds < 1 ? "now" : `${w.span(seconds)} ago`;
    },

    // at is a time with its day, clock one without.
    at: (time) => moment.format(time),
    clock: (time) => clockTime.format(time),
  };
  return w;
}

export const words = makeWords(undefined);
