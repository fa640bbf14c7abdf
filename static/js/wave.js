// A stem's loudness over time, drawn as bars. Long stems stay plain: they would have to be decoded whole.

const LARGEST = 48 * 1024 * 1024;
const LONGEST = 15 * 60; // seconds
const RATE = 8000; // Hz; the browser resamples while it decodes
const BAR = 3; // CSS pixels, bar and gap
const GAP = 1;

export class Wave {
  constructor(canvas, audio) {
    this.canvas = canvas;
    this.audio = audio;
    this.peaks = null;
    this.address = audio.src;
    this.scale = 1;
    this.fraction = 0;
    this.onSeek = () => {};
    canvas.addEventListener("click", (event) => this.onSeek(event.offsetX / canvas.clientWidth));
    new ResizeObserver(() => this.draw(this.fraction)).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw(this.fraction));
  }

  /** Fetch the stem if it is small enough and the reader does not save data, and measure it if it is short. It then
   *  also plays from here: a player that streams keeps a connection and a thread of the server busy while it is open. */
  async load() {
    const { bytes, seconds } = this.audio.dataset;
    if (!(Number(bytes) <= LARGEST) || navigator.connection?.saveData) return;
    try {
      const response = await fetch(this.address);
      if (!response.ok) return;
      const content = await response.blob();
      if (this.audio.readyState === 0 && this.audio.paused) this.#playFrom(content);
      if (!(Number(seconds) <= LONGEST)) return; // nor where it is not known
      const decoded = await new OfflineAudioContext(1, 1, RATE).decodeAudioData(await content.arrayBuffer());
      this.peaks = peaksOf(decoded.getChannelData(0), 1000);
      this.loudest = this.peaks.reduce((most, peak) => Math.max(most, peak), 0);
    } catch {
      // a format that only the media element can play: the bars stay flat
    }
  }

  #playFrom(content) {
    this.audio.src = URL.createObjectURL(content);
    this.audio.preload = "metadata";
    addEventListener("pagehide", (event) => event.persisted || URL.revokeObjectURL(this.audio.src), { once: true });
  }

  draw(fraction) {
    this.fraction = fraction;
    const { canvas } = this;
    const [width, height, scale] = [canvas.clientWidth, canvas.clientHeight, devicePixelRatio || 1];
    if (!width) return;
    if (canvas.width !== Math.round(width * scale)) {
      canvas.width = Math.round(width * scale);
      canvas.height = Math.round(height * scale);
    }
    const pen = canvas.getContext("2d");
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.clearRect(0, 0, width, height);
    pen.fillStyle = getComputedStyle(canvas).color;
    const bars = Math.floor(width / (BAR + GAP));
    for (let bar = 0; bar < bars; bar += 1) {
      const tall = Math.max(2, this.#level(bar / bars, (bar + 1) / bars) * height);
      pen.globalAlpha = bar / bars < fraction ? 1 : 0.38;
      pen.beginPath();
      pen.roundRect(bar * (BAR + GAP), (height - tall) / 2, BAR, tall, BAR / 2);
      pen.fill();
    }
  }

  #level(from, to) {
    if (!this.peaks) return 0;
    const [first, last] = [Math.floor(from * this.peaks.length), Math.ceil(to * this.peaks.length)];
    let highest = 0;
    for (let index = first; index < last; index += 1) highest = Math.max(highest, this.peaks[index]);
    return Math.min(1, highest * this.scale);
  }
}

/** Loudness of each of `count` equal parts of the samples: between its mean and its highest magnitude. */
function peaksOf(samples, count) {
  const peaks = new Float32Array(count);
  const step = samples.length / count;
  for (let index = 0; index < count; index += 1) {
    const [first, end] = [Math.floor(index * step), Math.min(samples.length, Math.ceil((index + 1) * step))];
    let [highest, power] = [0, 0];
    for (let at = first; at < end; at += 1) {
      highest = Math.max(highest, Math.abs(samples[at]));
      power += samples[at] ** 2;
    }
    peaks[index] = Math.min(1, (highest + Math.sqrt(power / Math.max(1, end - first))) / 2);
  }
  return peaks;
}
