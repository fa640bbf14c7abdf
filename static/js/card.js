// One dropped file on the first page: its upload, its options, its way to a job.

import { call } from "./api.js";
import { announce } from "./common.js";
import * as options from "./options.js";
import { Transfer } from "./transfer.js";
import { about, bytes, clock } from "./wording.js";

const CUT_OFF = "The connection was lost. Going on as soon as it is back…";
const BUSY = "The server cannot take it just now. Going on as soon as it can…";
const ELSEWHERE = "This file is being uploaded in another tab. Separate it there.";
const AGAIN_SECONDS = 30; // after tries that all failed, until the next by itself
const newest = new WeakMap(); // place of an estimate -> the question that it answers
let count = 0;

export class Card {
  /** `on`: { settled(card), removed(card), submitted(card, job) } */
  constructor(file, form, on) {
    this.file = file;
    this.form = form;
    this.on = on;
    this.state = "waiting";
    this.wanted = false;
    this.element = document.getElementById("file-card").content.firstElementChild.cloneNode(true);
    this.#find();
    this.#wire();
    this.#measure();
  }

  #find() {
    const parts = "name facts pause remove progress status error settings summary options-here estimate go open";
    this.parts = Object.fromEntries(parts.split(" ").map((p) => [p, this.element.querySelector(`[data-${p}]`)]));
    this.panel = document.querySelector("#plain-options [data-options]").cloneNode(true);
    this.parts["options-here"].append(this.panel);
  }

  #wire() {
    const { name, facts, pause, remove, go, progress } = this.parts;
    const suffix = `f${++count}`;
    name.textContent = this.file.name;
    facts.textContent = bytes(this.file.size);
    progress.setAttribute("aria-label", `Upload of ${this.file.name}`);
    this.#name(suffix);
    options.wire(this.panel, suffix, () => this.#optionsChanged());
    options.recall(this.panel);
    this.#summarise();
    pause.addEventListener("click", () => (this.state === "paused" ? this.resume() : this.pause()));
    remove.addEventListener("click", () => this.remove());
    go.addEventListener("click", () => this.go());
    this.say("Waiting for its turn");
  }

  /** Each card may be one of many: it is named after its file, and so are its controls. */
  #name(suffix) {
    const { name } = this.parts;
    name.id = `name-${suffix}`;
    this.element.setAttribute("aria-labelledby", name.id);
    for (const part of ["pause", "remove", "go", "open"]) {
      const control = this.parts[part];
      control.id = `${part}-${suffix}`;
      control.setAttribute("aria-labelledby", `${control.id} ${name.id}`);
    }
  }

  /** The browser often knows how long the music is, before the server does. */
  #measure() {
    const probe = new Audio();
    const address = URL.createObjectURL(this.file);
    const done = () => URL.revokeObjectURL(address);
    probe.preload = "metadata";
    probe.addEventListener("loadedmetadata", () => {
      if (Number.isFinite(probe.duration)) this.parts.facts.textContent += ` · ${clock(probe.duration)}`;
      done();
    });
    probe.addEventListener("error", done);
    probe.src = address;
  }

  start() {
    if (this.file.size > Number(this.form.dataset.max)) {
      return this.refuse(`The file is larger than the ${bytes(Number(this.form.dataset.max))} that this server accepts.`);
    }
    if (this.file.size === 0) return this.refuse("The file is empty. Choose another.");
    this.state = "uploading";
    this.began = performance.now();
    this.parts.pause.hidden = false;
    this.transfer = new Transfer(this.file, this.form.dataset.uploads, {
      progress: (sent, total) => this.#progress(sent, total),
      waiting: (problem) => this.#waiting(problem),
      done: (track) => this.#arrived(track),
      failed: (problem) => this.#failed(problem),
      elsewhere: () => this.#elsewhere(),
    });
    this.say("Starting…");
    return this.transfer.start();
  }

  #progress(sent, total) {
    if (this.state !== "uploading") return;
    this.parts.progress.value = sent / total;
    if (sent >= total) return this.say("Reading the file…");
    this.from ??= sent;
    const seconds = (performance.now() - this.began) / 1000;
    const speed = (sent - this.from) / Math.max(seconds, 0.1);
    const left = seconds > 3 && speed > 0 ? `, ${about((total - sent) / speed)} left` : "";
    this.say(`${Math.floor((100 * sent) / total)} % of ${bytes(total)}${left}`);
  }

  #waiting(problem) {
    if (this.state === "uploading") this.say(problem.status ? BUSY : CUT_OFF);
  }

  #arrived(track) {
    if (this.state === "removed") return;
    this.track = track;
    this.state = "ready";
    this.#hide("progress", "pause");
    this.#offer("Take off this list; the track is kept");
    this.say("Uploaded");
    announce(`${this.file.name} is uploaded.`);
    this.on.settled(this);
    if (this.wanted) this.#submit();
    else this.#estimate();
  }

  #failed(problem) {
    if (this.state === "removed" || this.state === "refused") return;
    if (problem.isFinal) return this.refuse(problem.message);
    this.#halt("", problem.message);
    if (!problem.needsLogin) this.#goOnLater(Math.max(AGAIN_SECONDS, problem.retryAfter));
    if (problem.status) this.on.settled(this); // without one the connection is lost, for the other files too
  }

  #elsewhere() {
    if (this.state !== "uploading") return;
    this.#withdraw();
    this.#hide("go");
    this.#halt(ELSEWHERE);
    announce(`${this.file.name}: ${ELSEWHERE}`);
    this.on.settled(this);
  }

  #halt(status, error = "") {
    this.state = "paused";
    this.parts.pause.textContent = "Try again";
    this.parts.pause.hidden = false;
    this.say(status);
    this.#show(error);
  }

  /** By itself, once the connection is back; and now and then, as a browser does not notice every way it is lost. */
  #goOnLater(seconds) {
    const again = () => this.state === "paused" && this.resume();
    const timer = setTimeout(again, seconds * 1000);
    addEventListener("online", again);
    this.stopWaiting = () => {
      clearTimeout(timer);
      removeEventListener("online", again);
    };
  }

  /** The file is not taken: say why, and leave nothing but the way to remove it. */
  refuse(message) {
    this.state = "refused";
    this.element.classList.add("refused");
    this.#hide("progress", "pause", "settings", "go");
    this.#offer("Remove");
    this.say("Not taken");
    this.#show(message);
    this.on.settled(this);
  }

  pause() {
    this.state = "paused";
    this.transfer.pause();
    this.parts.pause.textContent = "Resume";
    this.say("Paused");
    this.on.settled(this);
  }

  resume() {
    this.stopWaiting?.();
    this.state = "uploading";
    this.began = performance.now();
    this.from = undefined;
    this.parts.pause.textContent = "Pause";
    this.parts.go.hidden = false;
    this.#show("");
    this.say("Going on…");
    this.transfer.start();
  }

  remove() {
    const finished = this.state === "ready" || this.state === "submitted";
    this.state = "removed";
    if (!finished) this.transfer?.cancel();
    announce(finished ? `${this.file.name} was taken off this list; the track is kept.` : `${this.file.name} was removed.`);
    this.on.settled(this);
    this.on.removed(this);
  }

  go() {
    const lacking = options.missing(this.panel);
    if (lacking) {
      this.parts.settings.open = true;
      return this.#show(lacking);
    }
    this.#show("");
    this.wanted = true;
    this.#hide("settings");
    this.#leave("go");
    this.parts.go.disabled = true;
    if (this.state === "ready") return this.#submit();
    this.parts.go.textContent = "Separates when uploaded";
    return undefined;
  }

  async #submit() {
    this.parts.go.textContent = "Sending…";
    try {
      const body = { track: this.track, ...options.read(this.panel) };
      const job = await (await call("POST", this.form.dataset.jobs, body)).json();
      if (this.state === "removed") return;
      this.state = "submitted";
      options.remember(this.panel);
      this.#submitted(job);
    } catch (problem) {
      this.#withdraw();
      if (document.activeElement === this.element) this.parts.go.focus({ preventScroll: true });
      this.#show(problem.message);
      this.on.settled(this);
    }
  }

  /** It is not to be separated after all, until somebody asks again. */
  #withdraw() {
    this.wanted = false;
    this.parts.go.disabled = this.parts.settings.hidden = false;
    this.parts.go.textContent = "Separate";
  }

  #submitted(job) {
    const { open, estimate } = this.parts;
    this.#hide("go", "remove");
    estimate.textContent = "";
    open.href = `/jobs/${job.id}`;
    open.hidden = false;
    if (document.activeElement === this.element) open.focus({ preventScroll: true });
    this.say(job.reused ? "Done before with the same options" : "Sent");
    announce(`${this.file.name}: ${this.parts.status.textContent}`);
    this.on.submitted(this, job);
  }

  #optionsChanged() {
    this.#summarise();
    this.#show("");
    clearTimeout(this.soon);
    this.soon = setTimeout(() => this.#estimate(), 200);
  }

  #summarise() {
    this.parts.summary.textContent = options.summary(this.panel);
  }

  async #estimate() {
    if (this.state !== "ready") return;
    await showEstimate(this.parts.estimate, this.form.dataset.estimates, this.track, this.panel);
  }

  #hide(...names) {
    this.#leave(...names);
    for (const name of names) this.parts[name].hidden = true;
  }

  /** Where one of these parts has the focus, the card takes it: a part that goes would drop it. */
  #leave(...names) {
    if (names.some((name) => this.parts[name].contains(document.activeElement))) this.element.focus({ preventScroll: true });
  }

  /** What the cross is for. */
  #offer(text) {
    this.parts.remove.querySelector(".hidden").textContent = text;
  }

  say(text) {
    this.parts.status.textContent = text;
  }

  #show(message) {
    this.parts.error.textContent = message;
    this.parts.error.hidden = !message;
  }
}

/** Ask what a separation with a panel's options would need, and write it into `place`; the newest question counts. */
export async function showEstimate(place, address, track, panel) {
  const asked = Symbol();
  newest.set(place, asked);
  const { fits, text } = await estimated(address, track, panel);
  if (newest.get(place) !== asked) return;
  place.classList.toggle("no", !fits);
  place.textContent = text;
}

async function estimated(address, track, panel) {
  const lacking = options.missing(panel);
  if (lacking) return { fits: false, text: lacking };
  try {
    const needs = await (await call("POST", address, { track, ...options.read(panel) })).json();
    const text = `Takes ${about(needs.seconds)} and ${bytes(needs.bytes)} of memory`;
    return { fits: needs.fits, text: needs.fits ? text : needs.message };
  } catch (problem) {
    return { fits: false, text: problem.message };
  }
}
