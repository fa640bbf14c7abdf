// The list of jobs: what waits or runs is followed for as long as the page is looked at.

import { call } from "./api.js";
import { announce, showRelativeTimes, start } from "./common.js";

const EVERY_SECONDS = 3;
const UNFINISHED = ".state.queued, .state.running";

async function follow() {
  while (document.querySelector(UNFINISHED)) {
    await new Promise((resolve) => setTimeout(resolve, EVERY_SECONDS * 1000));
    if (!document.hidden) await look().catch(() => {}); // the next look may succeed
  }
}

/** Fetch this page again and take over the states of the jobs that are shown. */
async function look() {
  const text = await (await call("GET", location.href, undefined, { Accept: "text/html" })).text();
  const fresh = new DOMParser().parseFromString(text, "text/html");
  if (!fresh.querySelector("nav.filters")) return location.reload(); // not the list: the session has ended
  for (const item of document.querySelectorAll("a.item")) {
    const state = fresh.querySelector(`a.item[href="${item.getAttribute("href")}"] .state`);
    if (state) take(item, state);
  }
  if (shown(document) !== shown(fresh)) replace(fresh.getElementById("jobs"));
}

const shown = (page) => [...page.querySelectorAll("a.item")].map((item) => item.getAttribute("href")).join();

/** Jobs came, left the filter or moved to another page: the list, its pager and what stands for an empty one. */
function replace(fresh) {
  const focused = document.activeElement?.closest("a.item")?.getAttribute("href");
  document.getElementById("jobs").replaceWith(fresh);
  showRelativeTimes(fresh);
  if (focused) (fresh.querySelector(`a.item[href="${focused}"]`) ?? fresh).focus({ preventScroll: true });
  const empty = fresh.querySelector(".empty p");
  if (empty) announce(empty.textContent);
}

function take(item, fresh) {
  const state = item.querySelector(".state");
  const ended = state.matches(UNFINISHED) && !fresh.matches(UNFINISHED);
  state.className = fresh.className;
  state.textContent = fresh.textContent;
  if (ended) announce(`${item.querySelector("b").textContent}: ${fresh.textContent}`);
}

start();
follow();
