// Requests to the API with the session's CSRF token. A refusal is thrown as a Problem whose message is for people.

const UNREACHABLE = "The server cannot be reached. Check the connection; nothing is lost.";

export class Problem extends Error {
  constructor(message, { status = 0, code = "", retryAfter = 0 } = {}) {
    super(message);
    this.status = status;
    this.code = code;
    this.retryAfter = retryAfter;
  }
}

export function csrfToken() {
  return document.querySelector('meta[name="csrf-token"]')?.content ?? "";
}

/** The Problem that a response with an error status stands for. */
export function problemFrom(status, text, retryAfter = 0) {
  let document = {};
  try {
    document = JSON.parse(text);
  } catch {
    // not ours: a proxy's error page
  }
  const message = document.detail || fallback(status);
  return new Problem(message, { status, code: document.code, retryAfter: Number(retryAfter) || 0 });
}

function fallback(status) {
  if (status === 401) return "You are no longer logged in. Log in again in another tab, then retry.";
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
