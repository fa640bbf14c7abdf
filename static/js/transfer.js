// One file's way to the server by tus: resumable over lost connections, pauses and closed tabs.

import { call, csrfToken, Problem, problemFrom } from "./api.js";
import { hold } from "./hold.js";

const CHUNK = 32 * 1024 * 1024;
const UNREAD = "The file is all here, but the server is too busy to read it. Try again in a moment.";
const DELETED = "This file was uploaded before, and its track deleted since. Choose it again to upload it once more.";
const UNREADABLE = "The file cannot be read. It was moved, changed or deleted, or is a folder. Choose it again.";
const RETRIES = [0, 1000, 2000, 4000, 8000, 15000, 30000];

export class Transfer {
  /** `on`: { progress(sent, total), waiting(Problem), done(trackId), failed(Problem), elsewhere() } */
  constructor(file, endpoint, on) {
    this.file = file;
    this.stopped = this.unreadable = false;
    this.on = on;
    this.upload = new window.tus.Upload(file, {
      endpoint,
      chunkSize: CHUNK,
      retryDelays: RETRIES,
      metadata: { filename: file.name, filetype: file.type },
      onBeforeRequest: (request) => request.setHeader("X-CSRFToken", csrfToken()),
      onAfterResponse: keepTheAddress,
      onShouldRetry: (error) => this.#worthARetry(error),
      onProgress: (sent, total) => on.progress(sent, total),
      onSuccess: () => this.#finish(),
      onError: (error) => this.#stopFor(problemOf(error)),
    });
  }

  /** Begin, or go on where it stopped, here or before this page; not while another tab is at the same file. */
  async start() {
    const begun = (this.begun = {});
    const isOver = () => this.stopped || this.begun !== begun; // stopped, or begun anew since
    this.stopped = false;
    const held = await this.#hold();
    if (isOver()) return;
    if (!held) return this.on.elsewhere();
    if (!this.upload.url) await this.#findPrevious();
    if (!isOver() && (await this.#isReadable()) && !isOver()) this.upload.start();
  }

  pause() {
    this.stopped = true;
    this.turn = null;
    return this.upload.abort();
  }

  /** Stop, and delete on the server what has arrived; what one try does not delete expires there. What another tab
   *  sends is left to it. What arrived of a file that then could not be read is kept: the file may have been chosen
   *  again, and go on from there. */
  async cancel() {
    this.stopped = true;
    this.turn = null;
    if (this.unreadable || !(await this.held)) return;
    this.upload.options.retryDelays = null;
    const deleted = this.upload.abort(Boolean(this.upload.url)).catch(() => {});
    await this.#forget();
    this.#letGo(); // from here on the file has another address for whoever chooses it again
    await deleted;
  }

  /** Whether this transfer alone is at the file; uploads of it share their address between tabs. */
  async #hold() {
    this.held ??= this.upload.options.fingerprint(this.file, this.upload.options).then(hold);
    const held = await this.held;
    if (!held) this.held = null;
    return Boolean(held);
  }

  #letGo() {
    this.held?.then((letGo) => letGo?.());
    this.held = null;
  }

  async #findPrevious() {
    const [previous] = await this.upload.findPreviousUploads();
    if (previous) this.upload.resumeFromPreviousUpload(previous);
  }

  /** A file that is gone or changed would look like a lost connection: the request fails, and has no status. */
  async #isReadable() {
    try {
      await this.file.slice(0, 1).arrayBuffer();
      return true;
    } catch {
      this.unreadable = true;
      await this.pause();
      this.#letGo();
      this.on.failed(new Problem(UNREADABLE, { status: 422 }));
      return false;
    }
  }

  #worthARetry(error) {
    const problem = problemOf(error);
    const again = passes(problem);
    if (again) this.on.waiting(problem);
    if (again && !problem.status) this.#isReadable();
    return again;
  }

  /** All bytes are there: what has the server made of them? A pause ends the asking. */
  async #finish() {
    const turn = (this.turn = {});
    try {
      const track = trackOf(await this.#standing(turn));
      if (this.turn !== turn) return;
      await this.#forget();
      this.#letGo();
      this.on.done(track);
    } catch (problem) {
      if (this.turn === turn) await this.#stopFor(problem);
    }
  }

  /** The upload as the server has it. Asked for again after each of the delays, while it may yet be had. */
  async #standing(turn, [delay, ...later] = RETRIES) {
    try {
      return await (await call("GET", this.upload.url)).json();
    } catch (problem) {
      if (delay === undefined || !passes(problem) || this.turn !== turn) throw problem;
      this.on.waiting(problem);
    }
    await new Promise((resolve) => setTimeout(resolve, delay));
    return this.#standing(turn, later);
  }

  /** The address is kept for as long as there is a reason to come back to it. */
  async #stopFor(problem) {
    if (problem.isFinal) {
      await this.#forget();
      this.#letGo();
    }
    this.on.failed(problem);
  }

  async #forget() {
    const storage = this.upload.options.urlStorage;
    for (const previous of await this.upload.findPreviousUploads()) await storage.removeUpload(previous.urlStorageKey);
  }
}

/** Whether a problem may be over at the next try. */
function passes(problem) {
  return !problem.isFinal && !problem.needsLogin;
}

/** The track that came of a whole upload. Throws a Problem when there is none. */
function trackOf(upload) {
  if (upload.problem) throw problemFrom(422, JSON.stringify(upload.problem));
  if (upload.state === "receiving") throw new Problem(UNREAD, { status: 503 });
  if (!upload.track) throw new Problem(DELETED, { status: 410 });
  return upload.track;
}

/** The client would begin anew after any refused HEAD; only an upload that is not there any more is a reason to. */
function keepTheAddress(request, response) {
  const status = response.getStatus();
  if (request.getMethod() !== "HEAD" || status < 300 || status === 404 || status === 410) return;
  throw Object.assign(new Error(`HEAD was answered with ${status}`), { response });
}

function problemOf(error) {
  const response = error.originalResponse ?? error.causingError?.response;
  return problemFrom(response?.getStatus() ?? 0, response?.getBody() ?? "", response?.getHeader("Retry-After"));
}
