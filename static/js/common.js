// What every page has: questions before something is lost, buttons that wait, relative times, copying.

import { csrfToken } from "./api.js";
import { ago } from "./wording.js";

/** Ask in the page's dialog; resolves to whether the answer was yes. */
export function ask({ question, consequence, verb }) {
  const dialog = document.getElementById("confirm");
  dialog.querySelector("#confirm-question").textContent = question;
  dialog.querySelector("#confirm-consequence").textContent = consequence;
  dialog.querySelector("#confirm-yes").textContent = verb;
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

async function confirmThenSubmit(event) {
  const form = event.target.closest("form[data-confirm]");
  if (!form || form.elements.confirmed) return;
  event.preventDefault();
  const { confirm: question, consequence, verb } = form.dataset;
  if (!(await ask({ question, consequence, verb }))) return;
  const yes = Object.assign(document.createElement("input"), { type: "hidden", name: "confirmed", value: "yes" });
  const present = form.isConnected ? form : successor(form);
  present?.append(yes);
  present?.requestSubmit();
}

/** The form that took this one's place while the question was open; none when there is nothing left to confirm. */
function successor(form) {
  return document.querySelector(`form[data-confirm][action="${form.getAttribute("action")}"]`);
}

/** A login in another tab has made the token of every form that was open before it too old. */
function renewToken(event) {
  const field = event.target.elements.csrfmiddlewaretoken;
  if (field) field.value = csrfToken() || field.value;
}

function holdWhileSending(event) {
  if (event.defaultPrevented) return;
  const button = event.submitter ?? event.target.querySelector("button:not([type=button])");
  if (!button || event.target.method === "dialog") return;
  setTimeout(() => {
    button.disabled = true;
    if (event.target.dataset.busy) button.textContent = event.target.dataset.busy;
  });
}

function release(event) {
  if (!event.persisted) return;
  for (const button of document.querySelectorAll("button:disabled")) button.disabled = false;
}

export function showRelativeTimes(root = document) {
  for (const time of root.querySelectorAll("time[data-ago]")) {
    const moment = new Date(time.dateTime);
    if (Date.now() - moment > 7 * 86400e3) continue;
    time.title ||= time.textContent;
    time.textContent = ago(moment);
  }
}

/** Moments in the time zone and the manner of whoever looks; the server writes its own. */
export function showTimes(root = document) {
  const format = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
  for (const time of root.querySelectorAll("time[data-at]")) {
    time.title ||= time.textContent;
    time.textContent = format.format(new Date(time.dateTime));
  }
}

async function copy(event) {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  button.textContent = (await copied(document.getElementById(button.dataset.copy))) ? "Copied" : "Press Ctrl+C";
}

/** Whether a text reached the clipboard; if not, it is selected. Over plain HTTP there is no `navigator.clipboard`. */
async function copied(place) {
  try {
    await navigator.clipboard.writeText(place.textContent);
    return true;
  } catch {
    getSelection().selectAllChildren(place);
    return document.execCommand("copy");
  }
}

export function announce(text) {
  const region = document.getElementById("announce");
  if (region) region.textContent = text;
}

export function start() {
  document.addEventListener("submit", confirmThenSubmit);
  document.addEventListener("submit", renewToken);
  document.addEventListener("submit", holdWhileSending);
  document.addEventListener("click", copy);
  addEventListener("pageshow", release);
  showTimes();
  showRelativeTimes();
  setInterval(() => showRelativeTimes(), 30_000);
}
