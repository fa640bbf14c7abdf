// Separating a track again: the estimate follows the options.

import { showEstimate } from "./card.js";
import { start } from "./common.js";
import * as options from "./options.js";

const form = document.getElementById("separate");
const panel = form.querySelector("[data-options]");
const place = form.querySelector("[data-estimate]");

function estimate() {
  const lacking = options.missing(panel);
  place.classList.toggle("no", Boolean(lacking));
  if (lacking) place.textContent = lacking;
  else showEstimate(place, form.dataset.estimates, form.dataset.track, options.read(panel));
}

options.wire(panel, "", estimate);
estimate();
start();
