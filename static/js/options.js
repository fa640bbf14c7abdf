// The options panel: what is chosen as the API takes it, as one line of words, and choices that depend on the model.

import { capital } from "./wording.js";

const REMEMBERED = "stemsite.options";

/** Wire a panel. `suffix` keeps the names of several panels in one form apart. Calls `onChange` after each change. */
export function wire(root, suffix, onChange = () => {}) {
  if (suffix) rename(root, suffix);
  const changed = () => {
    followModel(root);
    onChange();
  };
  root.addEventListener("change", changed);
  followModel(root);
}

function rename(root, suffix) {
  for (const input of root.querySelectorAll("input, select")) {
    input.dataset.name = input.name;
    input.name = `${input.name}-${suffix}`;
    if (input.id) input.id = `${input.id}-${suffix}`;
  }
  for (const label of root.querySelectorAll("label[for]")) label.htmlFor = `${label.htmlFor}-${suffix}`;
}

function inputs(root, name) {
  return [...root.querySelectorAll("input, select")].filter((input) => (input.dataset.name ?? input.name) === name);
}

function value(root, name) {
  const found = inputs(root, name);
  return (found.find((input) => input.checked) ?? found.find((input) => input.tagName === "SELECT"))?.value;
}

function followModel(root) {
  const model = root.querySelector("select[data-models]");
  const chosen = model.selectedOptions[0];
  if (!chosen) return;
  const stems = chosen.dataset.stems.split(" ");
  root.querySelector("p[data-about]").textContent = chosen.dataset.about;
  for (const tick of root.querySelectorAll("label[data-needs-stem]")) {
    tick.hidden = !stems.includes(tick.dataset.needsStem);
    if (tick.hidden) tick.querySelector("input").checked = false;
  }
  for (const option of root.querySelectorAll("select[data-needs-stem] option")) {
    option.disabled = option.hidden = !stems.includes(option.value);
    if (option.disabled && option.selected) option.parentElement.value = stems.includes("vocals") ? "vocals" : stems[0];
  }
}

/** The body of a request: everything but the track. */
export function read(root) {
  const [format, setting] = value(root, "output").split(":");
  const [name, number] = setting.split("=");
  const body = { model: value(root, "model"), preset: value(root, "preset"), format, quality: { [name]: Number(number) } };
  const split = value(root, "split");
  if (split === "two") body.two_stems = value(root, "two_stems");
  if (split === "some") body.stems = inputs(root, "stems").filter((tick) => tick.checked).map((tick) => tick.value);
  return body;
}

/** What is missing before this can be asked for, in words; empty when nothing is. */
export function missing(root) {
  return read(root).stems?.length === 0 ? "Choose at least one stem." : "";
}

export function summary(root) {
  const body = read(root);
  const model = root.querySelector("select[data-models]").selectedOptions[0].textContent.trim();
  const output = inputs(root, "output")[0].selectedOptions[0].textContent.trim();
  const stems = body.two_stems ? `${body.two_stems} and the rest` : body.stems ? body.stems.join(", ") : "all stems";
  return [model, capital(body.preset), stems || "no stems yet", output].join(" · ");
}

export function remember(root) {
  const chosen = {};
  for (const name of ["model", "preset", "split", "two_stems", "output"]) chosen[name] = value(root, name);
  chosen.stems = inputs(root, "stems").filter((tick) => tick.checked).map((tick) => tick.value);
  localStorage.setItem(REMEMBERED, JSON.stringify(chosen));
}

/** Choose what was chosen last time, as far as it is still on offer. */
export function recall(root) {
  let chosen;
  try {
    chosen = JSON.parse(localStorage.getItem(REMEMBERED)) ?? {};
  } catch {
    return;
  }
  for (const [name, wanted] of Object.entries(chosen)) {
    for (const input of inputs(root, name)) {
      if (input.type === "checkbox") input.checked = wanted.includes(input.value);
      else if (input.type === "radio") input.checked = input.value === wanted || (input.checked && !wanted);
      else if ([...input.options].some((o) => o.value === wanted && !o.disabled)) input.value = wanted;
    }
    if (name === "model") followModel(root);
  }
  followModel(root);
}
