// Requests to the API with the session's CSRF token. A refusal is thrown as a Problem whose message is for people.

// What passes: a session or a token that ended, a wait, a lock, an offset to ask for, a body that was cut short.
const PASSING_STATUSES = new Set([401, 408, 409, 423, 425, 429]);
const PASSING_CODES = new Set(["csrf_failed", "upload_incomplete_body"]);
const UNREACHABLE = "The server cannot be reached. Check the connection; nothing is lost.";
const LOGGED_OUT = "You are no longer logged in. Log in again in another tab, then go on here.";

export class Problem extends Error {
  constructor(message, { status = 0, code = "", retryAfter = 0 } = {}) {
    super(message);
    this.status = status;
    this.code = code;
    this.retryAfter = retryAfter;
  }

  /** Whether the same request could only be refused again. */
  get isFinal() {
    const refused = this.status >= 400 && this.status < 500;
    return refused && !PASSING_STATUSES.has(this.status) && !PASSING_CODES.has(this.code);
  }

  /** Whether it takes the person to go on: the session ended, or its token is one from before a login. */
  get needsLogin() {
    return needsLogin(this.status, this.code);
  }
}

function needsLogin(status, code) {
  return status === 401 || code === "csrf_failed";
}

/** The cookie's token, which follows a login in another tab; the page's own is as old as the page. */
export function csrfToken() {
  const cookie = document.cookie.match(/(?:^|; )csrftoken=([^;]+)/)?.[1];
  return cookie ?? document.querySelector('meta[name="csrf-token"]')?.content ?? "";
}

/** The Problem that a response with an error status stands for. */
export function problemFrom(status, text, retryAfter = 0) {
  let document = {};
  try {
    document = JSON.parse(text);
  } catch {
    // not ours: a proxy's error page
  }
  const message = needsLogin(status, document.code) ? LOGGED_OUT : document.detail || fallback(status);
  return new Problem(message, { status, code: document.code, retryAfter: Number(retryAfter) || 0 });
}

function fallback(status) {
  if (status === 413) return "The file is larger than the server accepts.";
  if (status === 0) return UNREACHABLE;
  return `The server answered ${status}. Try again in a moment.`;
}

/** Send `body` as JSON; returns the Response. Throws a Problem for refusals and lost connections. */
export async function call(method, path, body = undefined, headers = {}) {
  const options = { method, headers: { Accept: "application/json", "X-CSRFToken": csrfToken(), ...headers } };
  if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers["Content-Type"] = "application/json";
  }
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Problem(UNREACHABLE);
  }
  if (response.status >= 400) {
    throw problemFrom(response.status, await response.text(), response.headers.get("Retry-After"));
  }
  return response;
}
