// The job page: follows a job until it has ended, then shows what the server made of it. The mixer has its own file.

import { call } from "./api.js";
import { announce, showTimes, start } from "./common.js";
import { Mixer } from "./mixer.js";
import { about, bytes, capital } from "./wording.js";

const HIDDEN_SECONDS = 15;
const LONGEST_WAIT = 30;
const ENDED = new Set(["succeeded", "failed", "cancelled"]);
let article = document.getElementById("job");
let etag = "";
let spoken = "";

const part = (name) => article.querySelector(`[data-${name}]`);

async function follow() {
  let failures = 0;
  while (!ENDED.has(article.dataset.state)) {
    let seconds = 1;
    try {
      seconds = (await look()) || 1;
      failures = 0;
      trouble("");
    } catch (problem) {
      failures += 1;
      seconds = Math.min(LONGEST_WAIT, problem.retryAfter || 2 ** failures);
      trouble(problem.message);
      if (problem.status === 404) return;
    }
    await pause(document.hidden ? Math.max(seconds, HIDDEN_SECONDS) : seconds);
  }
}

/** One look at the job; returns after how many seconds to look again. */
async function look() {
  const response = await call("GET", article.dataset.api, undefined, etag ? { "If-None-Match": etag } : {});
  const again = Number(response.headers.get("Retry-After")) || 0;
  if (response.status === 304) return again;
  const job = await response.json();
  if (job.state !== article.dataset.state) await swap();
  else show(job);
  etag = response.headers.get("ETag") ?? ""; // last: what could not be taken over is asked for again
  return again;
}

/** Sleep, but wake when the tab is looked at again. */
function pause(seconds) {
  return new Promise((resolve) => {
    const timer = setTimeout(done, seconds * 1000);
    function done() {
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", wake);
      resolve();
    }
    function wake() {
      if (!document.hidden) done();
    }
    document.addEventListener("visibilitychange", wake);
  });
}

function trouble(message) {
  const place = part("trouble");
  if (!place) return;
  place.textContent = message;
  place.hidden = !message;
}

function show(job) {
  const percent = Math.floor(job.progress * 100);
  part("percent").textContent = percent;
  part("progress").value = job.progress;
  part("phase").textContent = job.cancel_requested ? "Cancelling" : job.state === "queued" ? "Waiting" : capital(job.phase || "starting");
  part("eta").textContent = eta(job);
  part("waiting").textContent = job.waiting_reason ?? "";
  part("waiting").hidden = !job.waiting_reason;
  showMemory(job.memory, job.state);
  if (job.state === "running") document.title = `${percent} % · ${article.dataset.name} · Stemsite`;
  speak(job, percent);
}

function eta(job) {
  if (job.state === "queued" && job.queue_position) return place(job.queue_position, job.starts_in_seconds);
  return job.eta_seconds == null ? "" : `${about(job.eta_seconds)} left`;
}

function place(position, seconds) {
  const where = position === 1 ? "next in the queue" : `number ${position} in the queue`;
  return seconds == null ? where : `${where}, starts in ${about(seconds)}`;
}

function showMemory(memory, state) {
  const running = state === "running" ? `${bytes(memory.current)} now, peak ${bytes(memory.peak)}, ` : "";
  const limit = memory.limit ? `, limit ${bytes(memory.limit)}` : "";
  part("memory-text").textContent = `${running}estimate ${bytes(memory.estimate)}${limit}`;
  const meter = part("memory-meter");
  meter.max = memory.limit || memory.estimate || 1;
  meter.value = memory.current;
}

/** Screen readers hear a change of place or phase and every quarter, not every second and per cent. */
function speak(job, percent) {
  const text = job.state === "queued" ? place(job.queue_position) : `${capital(job.phase || "starting")}, ${Math.floor(percent / 25) * 25} %`;
  if (text && text !== spoken) announce(text);
  spoken = text;
}

/** Fetch this page again and take over its account of the job. */
async function swap() {
  const text = await (await call("GET", location.pathname, undefined, { Accept: "text/html" })).text();
  const page = new DOMParser().parseFromString(text, "text/html");
  const fresh = page.getElementById("job");
  if (!fresh) return location.reload();
  const open = article.querySelector("details")?.open;
  const focused = article.contains(document.activeElement) ? document.activeElement : null;
  document.getElementById("messages").replaceWith(page.getElementById("messages")); // what was said before is over
  article.replaceWith(fresh);
  article = fresh;
  if (focused) (counterpart(focused) ?? article).focus({ preventScroll: true });
  article.querySelector("details").open = open ?? false;
  document.title = page.title;
  showTimes(article);
  announce(`${article.dataset.name}: ${article.dataset.state}`);
  return mix();
}

/** What stands now where a control stood: whoever uses the keyboard goes on from there. */
function counterpart(control) {
  const action = control.form?.getAttribute("action");
  return article.querySelector(action ? `form[action="${action}"] button` : control.tagName);
}

function mix() {
  const place = document.getElementById("mixer");
  if (place) new Mixer(place);
}

start();
mix();
follow();
