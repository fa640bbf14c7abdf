// The first page: files come in by dropping or choosing, each becomes a card; two upload at a time.

import { Card } from "./card.js";
import { announce, start } from "./common.js";
import { dropped } from "./dropped.js";

const AT_ONCE = 2;
const form = document.getElementById("upload");
const list = document.getElementById("files");
const chooser = form.querySelector("input[type=file]");
let cards = [];

function add(files) {
  const fresh = fromNew(files).map((file) => new Card(file, form, { settled: next, removed: drop, submitted }));
  if (!fresh.length) return;
  cards.push(...fresh);
  list.hidden = false;
  list.append(...fresh.map((card) => card.element));
  form.classList.add("busy-with-files");
  announce(fresh.length === 1 ? `${fresh[0].file.name} was added.` : `${fresh.length} files were added.`);
  fresh[0].element.querySelector("[data-go]").focus({ preventScroll: true });
  fresh[0].element.scrollIntoView({ block: "nearest" });
  next();
}

/** The files without those that are on their way already; two uploads of one file would be one to the server. */
function fromNew(files) {
  const ways = cards.filter((card) => ["waiting", "uploading", "paused"].includes(card.state)).map((card) => card.file);
  const fresh = [], known = [];
  for (const file of files) ([...ways, ...fresh].some((other) => isSame(file, other)) ? known : fresh).push(file);
  if (known.length === 1) complain(`${known[0].name} is being uploaded already.`);
  if (known.length > 1) complain(`${known.length} of these files are being uploaded already.`);
  return fresh;
}

const isSame = (one, other) => ["name", "size", "lastModified"].every((fact) => one[fact] === other[fact]);

function next() {
  const running = cards.filter((card) => card.state === "uploading").length;
  cards.filter((card) => card.state === "waiting").slice(0, Math.max(0, AT_ONCE - running)).forEach((card) => card.start());
  showAll();
}

function drop(card) {
  const place = cards.indexOf(card);
  cards = cards.filter((other) => other !== card);
  card.element.remove();
  list.hidden = !cards.length;
  form.classList.toggle("busy-with-files", cards.length > 0);
  const neighbour = cards[place] ?? cards.at(-1);
  (neighbour?.element ?? chooser).focus();
  showAll();
}

function submitted(card, job) {
  if (cards.length === 1 && !job.reused) location.assign(`/jobs/${job.id}`);
  document.getElementById("sent").hidden = cards.length < 2;
  showAll();
}

/** With several files, one button for all that have not been sent yet. */
function showAll() {
  const open = cards.filter((card) => !card.wanted && ["waiting", "uploading", "paused", "ready"].includes(card.state));
  let all = document.getElementById("separate-all");
  if (cards.length > 1 && open.length > 1) {
    if (!all) {
      all = Object.assign(document.createElement("button"), { type: "button", id: "separate-all", className: "primary big" });
      all.addEventListener("click", separateAll);
      list.after(all);
    }
    all.textContent = `Separate all ${open.length}`;
  } else {
    if (all && all === document.activeElement) list.focus({ preventScroll: true });
    all?.remove();
  }
}

function separateAll() {
  cards.filter((card) => !card.wanted && card.state !== "refused").forEach((card) => card.go());
  showAll();
}

async function take({ files, folders }) {
  document.getElementById("messages").replaceChildren(); // what was said of other files
  add(files);
  for (const folder of folders) {
    const found = await folder.files.catch(() => []);
    if (found.length) add(found);
    else complain(`There is no music in the folder ${folder.name}, or it cannot be read. Drop the files themselves.`);
  }
}

function complain(text) {
  const line = Object.assign(document.createElement("p"), { className: "message error", textContent: text });
  line.setAttribute("role", "alert");
  document.getElementById("messages").replaceChildren(line);
}

function wireDropping() {
  let depth = 0;
  const carriesFiles = (event) => event.dataTransfer?.types.includes("Files");
  const mark = (change) => (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    depth = change === 0 ? 0 : depth + change;
    document.body.classList.toggle("dragging", depth > 0);
  };
  addEventListener("dragenter", mark(1));
  addEventListener("dragleave", mark(-1));
  addEventListener("dragover", (event) => carriesFiles(event) && event.preventDefault());
  addEventListener("drop", (event) => {
    if (!carriesFiles(event)) return;
    mark(0)(event);
    take(dropped(event, chooser.accept));
  });
}

chooser.addEventListener("change", () => {
  take({ files: [...chooser.files], folders: [] });
  chooser.value = "";
});
addEventListener("beforeunload", (event) => {
  if (cards.some((card) => card.state === "uploading" || (card.state === "paused" && card.transfer))) event.preventDefault();
});
form.addEventListener("submit", (event) => event.preventDefault());
wireDropping();
start();
