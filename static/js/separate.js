// Separating a track again: the estimate follows the options.

import { showEstimate } from "./card.js";
import { start } from "./common.js";
import * as options from "./options.js";

const form = document.getElementById("separate");
const panel = form.querySelector("[data-options]");
const place = form.querySelector("[data-estimate]");

const estimate = () => showEstimate(place, form.dataset.estimates, form.dataset.track, panel);

/** The line beside the button says already what is missing. */
function stopTheIncomplete(event) {
  if (!options.missing(panel)) return;
  event.preventDefault();
  panel.querySelector(".split-some label:not([hidden]) input").focus();
}

form.addEventListener("submit", stopTheIncomplete);
options.wire(panel, "", estimate);
estimate();
start();
