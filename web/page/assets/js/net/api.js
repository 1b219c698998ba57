// Questions to the broker.

// Refused is an answer that says no: status, what is wrong, and how to mend it.
export class Refused extends Error {
  constructor(status, message, hint) {
    super(message);
    this.status = status;
    this.hint = hint;
  }
}

// Unreachable says that nobody has answered.
export class Unreachable extends Error {}

const patience = 15_000; // milliseconds for an answer

// Api asks with a fetch function such as window.fetch. onEnded is called when an
// answer says that nobody is logged in any more.
export class Api {
  constructor(fetch, onEnded) {
    this.fetch = fetch;
    this.onEnded = onEnded;
  }

  get(path, signal) {
    return this.#ask("GET", path, null, signal);
  }

  post(path, body = null) {
    return this.#ask("POST", path, body);
  }

  // open is a response whose body is read as it comes, an event stream.
  open(path, signal) {
    return this.#send(path, { headers: { Accept: "text/event-stream" }, signal });
  }

  async #ask(method, path, body, signal) {
    const late = AbortSignal.timeout(patience);
    const headers = { Accept: "application/json" };
    if (body !== null) headers["Content-Type"] = "application/json";
    const response = await this.#send(path, { method, headers, body: body === null ? undefined : JSON.stringify(body), signal: signal ? AbortSignal.any([signal, late]) : late });
    if (response.status === 204) return null;
    try {
      return await response.json();
    } catch (e) {
      throw new Unreachable("the answer broke off", { cause: e });
    }
  }

  async #send(path, options) {
    let response;
    try {
      response = await this.fetch(path, { cache: "no-store", credentials: "same-origin", redirect: "error", ...options });
    } catch (e) {
      throw new Unreachable("the broker does not answer", { cause: e });
    }
    if (response.ok) return response;
    const { error, hint } = await response.json().catch(() => ({}));
    if (response.status === 401) this.onEnded();
    throw new Refused(response.status, error ?? `unexpected answer: ${response.status}`, hint ?? "");
  }
}

// problem says what went wrong, in one sentence.
export function problem(e) {
  return e instanceof Refused && e.hint ? `${e.message}; ${e.hint}` : e.message;
}
