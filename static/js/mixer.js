// The stems of a job played together: one transport; per stem mute, solo and volume. Streams, holds no whole file.

import { call } from "./api.js";
import { Wave } from "./wave.js";
import { clock } from "./wording.js";

const SEEK_BEYOND = 0.15; // seconds apart: jump
const NUDGE_BEYOND = 0.012; // seconds apart: play a little faster or slower
const NUDGE = 0.02;
const STEPS = { ArrowRight: 5, ArrowUp: 5, ArrowLeft: -5, ArrowDown: -5, PageUp: 30, PageDown: -30 }; // seconds
const CHECK_EVERY = 250; // ms
const CUT_OFF = "The connection was lost. Press Play to go on once it is back.";
const RAMP = 0.02; // seconds; no clicks when a gain changes

class Lane {
  constructor(element, index) {
    this.element = element;
    this.audio = element.querySelector("audio");
    this.audio.controls = false;
    this.mute = element.querySelector("[data-mute]");
    this.solo = element.querySelector("[data-solo]");
    this.volume = element.querySelector("[data-volume]");
    this.lost = false; // could not be fetched, and is worth another try
    this.name = element.querySelector("h2").textContent.trim();
    this.wave = new Wave(element.querySelector("[data-wave]"), this.audio, index);
  }

  get muted() {
    return this.mute.getAttribute("aria-pressed") === "true";
  }

  get soloed() {
    return this.solo.getAttribute("aria-pressed") === "true";
  }

  connect(context) {
    this.gain = context.createGain();
    context.createMediaElementSource(this.audio).connect(this.gain).connect(context.destination);
  }

  /** Why the stem cannot be heard. A file that cannot be had looks like one that cannot be played. */
  async trouble() {
    const { error, src } = this.audio;
    this.lost = error?.code === MediaError.MEDIA_ERR_NETWORK;
    if (this.lost) return CUT_OFF;
    try {
      if (!src.startsWith("blob:")) await call("HEAD", src);
    } catch (problem) {
      this.lost = !problem.isFinal;
      if (problem.status === 404) return `“${this.name}” is no longer on the server. Load the page again.`;
      return problem.status ? problem.message : CUT_OFF;
    }
    return `This browser cannot play “${this.name}” in this format. The download is complete all the same.`;
  }

  /** Ready to go on from `seconds`, or failed; fetched anew where nothing is there, or the connection was lost. */
  ready(seconds) {
    const { audio } = this;
    if (audio.error ? !this.lost : audio.readyState >= HTMLMediaElement.HAVE_FUTURE_DATA) return undefined;
    return new Promise((resolve) => {
      for (const end of ["canplay", "error"]) audio.addEventListener(end, resolve, { once: true });
      audio.preload = "auto";
      if (audio.readyState > 0 && !audio.error) return;
      this.lost = false;
      audio.load();
      audio.currentTime = seconds;
    });
  }

  setLevel(level, context) {
    this.element.classList.toggle("silent", level === 0);
    if (this.gain) this.gain.gain.setTargetAtTime(level, context.currentTime, RAMP);
  }
}

export class Mixer {
  constructor(root) {
    this.root = root;
    this.lanes = [...root.querySelectorAll(".lane")].map((element, index) => new Lane(element, index));
    this.find = (name) => root.querySelector(`[data-${name}]`);
    this.turn = null; // the press of Play that is in effect
    this.#wireTransport();
    this.lanes.forEach((lane) => this.#wireLane(lane));
    this.#loadWaves();
  }

  get audios() {
    return this.lanes.map((lane) => lane.audio);
  }

  get playing() {
    return this.turn !== null;
  }

  get leader() {
    const whole = this.audios.filter((audio) => !audio.error);
    return (whole.length ? whole : this.audios).reduce((longest, audio) => ((audio.duration || 0) > (longest.duration || 0) ? audio : longest));
  }

  get length() {
    return this.leader.duration || Number(this.find("seek").max);
  }

  #wireTransport() {
    this.find("play").addEventListener("click", () => this.toggle());
    this.find("start").addEventListener("click", () => this.seek(0));
    this.find("seek").addEventListener("input", (event) => this.seek(Number(event.target.value)));
    this.find("seek").addEventListener("keydown", (event) => this.#step(event));
    document.addEventListener("keydown", (event) => this.#key(event));
  }

  /** The slider's own steps are a hundredth of a second. */
  #step(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const ends = { Home: 0, End: this.length };
    const goal = ends[event.key] ?? Number(this.find("seek").value) + STEPS[event.key];
    if (Number.isNaN(goal)) return;
    event.preventDefault();
    this.seek(Math.min(Math.max(goal, 0), this.length));
  }

  #key(event) {
    const busy = event.target.closest("button, input:not([type=range]), select, textarea, a, summary, dialog, [contenteditable]");
    if (busy || event.key !== " " || event.ctrlKey || event.metaKey || event.altKey || !this.root.isConnected) return;
    event.preventDefault();
    this.toggle();
  }

  #wireLane(lane) {
    for (const button of [lane.mute, lane.solo]) {
      button.addEventListener("click", () => {
        button.setAttribute("aria-pressed", String(button.getAttribute("aria-pressed") !== "true"));
        this.#levels();
      });
    }
    lane.volume.addEventListener("input", () => this.#levels());
    lane.audio.addEventListener("error", () => this.#unplayable(lane));
    lane.audio.addEventListener("loadedmetadata", () => this.#measured());
    lane.audio.addEventListener("ended", () => lane.audio === this.leader && this.stop());
    lane.wave.onSeek = (fraction) => this.seek(fraction * this.length);
    if (lane.audio.readyState > 0) this.#measured();
    if (lane.audio.error) this.#unplayable(lane);
  }

  #measured() {
    this.find("seek").max = this.length;
    this.find("length").textContent = clock(this.length);
    this.#showPosition();
  }

  async #unplayable(lane) {
    this.#say(await lane.trouble());
    if (lane.lost || this.audios.every((audio) => audio.error)) this.stop();
  }

  #say(trouble) {
    const place = this.find("trouble");
    place.textContent = trouble;
    place.hidden = !trouble;
  }

  #levels() {
    const anySolo = this.lanes.some((lane) => lane.soloed);
    for (const lane of this.lanes) {
      const heard = !lane.muted && (!anySolo || lane.soloed);
      lane.setLevel(heard ? Number(lane.volume.value) ** 2 : 0, this.context);
    }
  }

  async toggle() {
    await (this.playing ? this.stop() : this.play());
  }

  /** Each wait may outlast a press of Pause, and one of Play after it: only the last one goes on. */
  async play() {
    const turn = (this.turn = {});
    this.#showPlaying();
    await this.#sound();
    if (this.turn !== turn) return;
    if (this.leader.ended) this.seek(0);
    await this.#ready();
    if (this.turn !== turn) return;
    const sounding = this.audios.filter((audio) => !audio.error && !audio.ended);
    if (!sounding.length) return this.stop();
    await Promise.allSettled(sounding.map((audio) => audio.play()));
    if (this.turn !== turn) return;
    this.timer = setInterval(() => this.#keepTogether(), CHECK_EVERY);
    this.#frame(turn);
  }

  #sound() {
    if (!this.context) {
      this.context = new AudioContext();
      this.lanes.forEach((lane) => lane.connect(this.context));
      this.#levels();
    }
    return this.context.resume();
  }

  /** Resolves when every stem can go on from here, or after a while all the same. */
  #ready() {
    const at = this.leader.currentTime;
    if (this.lanes.some((lane) => lane.lost)) this.#say("");
    const waits = this.lanes.map((lane) => lane.ready(at));
    return Promise.race([Promise.all(waits), new Promise((resolve) => setTimeout(resolve, 5000))]);
  }

  stop() {
    this.turn = null;
    clearInterval(this.timer);
    this.audios.forEach((audio) => audio.pause());
    this.#showPlaying();
    this.#showPosition();
  }

  seek(seconds) {
    for (const audio of this.audios) audio.currentTime = Math.min(seconds, audio.duration || seconds);
    this.#showPosition(seconds);
  }

  #keepTogether() {
    const leader = this.leader;
    for (const audio of this.audios) {
      if (audio === leader || audio.ended || audio.error) continue;
      const apart = audio.currentTime - leader.currentTime;
      if (Math.abs(apart) > SEEK_BEYOND) audio.currentTime = leader.currentTime;
      audio.playbackRate = Math.abs(apart) > NUDGE_BEYOND ? 1 - Math.sign(apart) * NUDGE : 1;
      if (this.playing && audio.paused && !leader.paused) audio.play().catch(() => {});
    }
  }

  #frame(turn) {
    if (this.turn !== turn || !this.root.isConnected) return;
    this.#showPosition();
    requestAnimationFrame(() => this.#frame(turn));
  }

  #showPlaying() {
    const button = this.find("play");
    button.setAttribute("aria-label", this.playing ? "Pause" : "Play");
    button.querySelector("use").setAttribute("href", `${document.documentElement.dataset.icons}#${this.playing ? "pause" : "play"}`);
  }

  #showPosition(seconds = this.leader.currentTime) {
    const fraction = this.length ? Math.min(1, seconds / this.length) : 0;
    const seek = this.find("seek");
    seek.value = seconds;
    seek.style.setProperty("--played", `${fraction * 100}%`);
    const text = clock(seconds);
    if (this.find("time").textContent !== text) {
      this.find("time").textContent = text;
      seek.setAttribute("aria-valuetext", `${text} of ${clock(this.length)}`);
    }
    for (const lane of this.lanes) lane.wave.draw(fraction);
  }

  /** One scale for all stems: the loudest fills its lane, the others show how they compare. */
  #scaleWaves() {
    const loudest = Math.max(...this.lanes.map((lane) => lane.wave.loudest ?? 0));
    for (const lane of this.lanes) lane.wave.scale = loudest > 0.02 ? 1 / loudest : 1;
  }

  async #loadWaves() {
    for (const lane of this.lanes) {
      if (!this.root.isConnected) return;
      await lane.wave.load();
      this.#scaleWaves();
      this.#showPosition();
    }
    this.root.dataset.mixerReady = "";
  }
}
