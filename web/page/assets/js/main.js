// The page: who is logged in, which view is shown, and the broker's counters.

import { Api, Refused, problem } from "./net/api.js";
import { Follower, browserClock } from "./net/follow.js";
import { History } from "./model/history.js";
import { brokerNow } from "./model/rates.js";
import { format, parse } from "./model/route.js";
import { Shell } from "./view/shell.js";
import { overview } from "./view/overview.js";
import { clients } from "./view/clients.js";
import { topics } from "./view/topics.js";
import { sessions } from "./view/sessions.js";
import { drops } from "./view/drops.js";
import { bridges } from "./view/bridges.js";
import { events } from "./view/events.js";

const makers = { overview, clients, topics, sessions, drops, bridges, events };
const remembered = 3600; // snapshots, one a second
const silence = 12_000; // milliseconds without counters after which the broker counts as lost

const history = new History(remembered);
let session = null;
let snap = null, snapAt = 0;
let lastHeard = null;
let views = {}; // made when they are first shown
let shown = null; // name of the view
let entered = false;

const api = new Api((...a) => fetch(...a), ended);
const ctx = {
  api,
  history,
  isAdmin: () => session?.role === "admin",
  now: () => (snap ? new Date(brokerNow(snap).getTime() + performance.now() - snapAt) : new Date()),
  go: (view, item = null) => (location.hash = format(view, item)),
};

const shell = new Shell({
  async login(username, password) {
    try {
      await api.post("/login", { username, password });
    } catch (e) {
      return problem(e);
    }
    return begin();
  },
  async logout() {
    // Nothing of what was shown shall stay in the page.
    await api.post("/logout").catch(() => {});
    location.reload();
  },
  retry: () => (stats.running ? stats.now() : follow()),
  key(letter) {
    const act = views[shown]?.keys?.[letter];
    act?.();
    return Boolean(act);
  },
});

const stats = new Follower(api, {
  item(s) {
    snap = s;
    snapAt = performance.now();
    lastHeard = new Date();
    history.add(s);
    shell.update(s);
    views[shown]?.update(s);
  },
  state(state, detail) {
    if (state === "live") {
      shell.lost(null);
      enter();
    }
    if (state === "lost") shell.lost({ ...detail, since: lastHeard });
    if (state === "refused" && detail.status !== 401) shell.lost({ why: problem(detail), next: null, since: lastHeard });
  },
}, browserClock());

// begin finds out who is logged in, and shows the page or the login form. It returns
// what is wrong, "" if nothing is.
async function begin() {
  let now;
  try {
    now = await api.get("/v1/session");
  } catch (e) {
    if (e instanceof Refused && e.status === 401) return "";
    if (session === null && document.body.dataset.state === "starting") {
      shell.state("login", `${problem(e)}. It is tried again.`); // not even the first answer
      setTimeout(begin, 3000);
    }
    return problem(e);
  }
  if (session && (session.role !== now.role || session.username !== now.username)) {
    leave();
    views = {}; // somebody else may do other things
  }
  session = now;
  shell.session(session);
  shell.state("in");
  show();
  follow();
  return "";
}

// ended is called when the broker does not know who this is (any more).
function ended() {
  if (document.body.dataset.state === "login" && session !== null) return; // others have said so before
  stats.stop();
  leave();
  shell.lost(null);
  shell.state("login", session ? "Your session has ended. Log in again to go on where you were." : "");
}

function follow() {
  if (document.hidden) return;
  stats.start("/v1/stats/stream?interval=1s", silence);
}

// show turns to the view that the address names.
function show() {
  if (session === null || document.body.dataset.state !== "in") return;
  const { view, item } = parse(location.hash);
  const main = document.getElementById("main");
  views[view] ??= makers[view](ctx);
  if (shown !== view || main.firstChild !== views[view].root) {
    leave();
    main.replaceChildren(views[view].root);
    const turned = shown !== null && shown !== view;
    shown = view;
    shell.at(view);
    if (turned) {
      scrollTo(0, 0);
      main.setAttribute("aria-label", views[view].title);
      main.focus({ preventScroll: true });
    }
  }
  entered = true;
  views[view].enter(item);
  if (snap) {
    views[view].update(snap);
    shell.update(snap);
  }
}

function enter() {
  if (!entered) show();
}

function leave() {
  if (entered) views[shown]?.leave();
  entered = false;
}

addEventListener("hashchange", show);
addEventListener("online", () => stats.now());
addEventListener("themechange", () => Object.values(views).forEach((v) => v.recolour?.()));
document.addEventListener("visibilitychange", () => {
  // A page that nobody sees costs the broker nothing.
  if (session === null || document.body.dataset.state !== "in") return;
  if (document.hidden) {
    stats.stop();
    leave();
  } else {
    show();
    follow();
  }
});

begin();
