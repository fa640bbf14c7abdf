// Numbers as people read them.

export function bytes(n) {
  if (n >= 1023.5 * 1024 ** 2) return `${(n / 1024 ** 3).toFixed(1)} GB`;
  if (n >= 1023.5 * 1024) return `${Math.round(n / 1024 ** 2)} MB`;
  if (n >= 1024) return `${Math.round(n / 1024)} KB`;
  return `${n} bytes`;
}

export function clock(seconds) {
  if (!Number.isFinite(seconds) || seconds < 0) return "–";
  const whole = Math.floor(seconds);
  const two = (n) => String(n).padStart(2, "0");
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return h ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

/** "a few seconds", "about 40 s", "about 3 min", "about 1 h 20 min". */
export function about(seconds) {
  return seconds < 8 ? "a few seconds" : `about ${rounded(seconds)}`;
}

function rounded(seconds) {
  if (seconds < 55) return `${Math.round(seconds / 5) * 5} s`;
  if (seconds < 3570) return `${Math.max(1, Math.round(seconds / 60))} min`;
  const minutes = Math.round(seconds / 60);
  return minutes % 60 ? `${Math.floor(minutes / 60)} h ${minutes % 60} min` : `${minutes / 60} h`;
}

export function ago(moment, now = Date.now()) {
  const seconds = (moment - now) / 1000;
  const format = new Intl.RelativeTimeFormat(document.documentElement.lang || "en", { numeric: "auto" });
  for (const [unit, size] of [["day", 86400], ["hour", 3600], ["minute", 60]]) {
    if (Math.abs(seconds) >= size) return format.format(Math.round(seconds / size), unit);
  }
  return "just now";
}

export function capital(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
