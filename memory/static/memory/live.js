// The live memory page: asks for the picture every two seconds and draws what changed.
"use strict";

(() => {
  const PERIOD_MS = 2000;
  const SLOWEST_MS = 15000;
  const MOST_POINTS = 900;
  const SVG = "http://www.w3.org/2000/svg";
  const page = document.getElementById("live");
  const charts = new Map();
  let paused = false;
  let failures = 0;
  let timer = 0;
  let newestIncident = null;

  // --- small helpers

  const element = (tag, attributes = {}, ...children) => {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(...children);
    return node;
  };
  const shape = (tag, attributes = {}, text = "") => {
    const node = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.textContent = text;
    return node;
  };
  const at = (id) => document.getElementById(id);
  const sum = (rows, name) => rows.reduce((total, row) => total + row[name], 0);

  // As memory.quantities.format_bytes writes them.
  const size = (bytes) => {
    const kib = 1024, mib = kib ** 2, gib = kib ** 3;
    if (Math.round(bytes / mib) >= 1024) return `${(bytes / gib).toFixed(1)} GB`;
    if (Math.round(bytes / kib) >= 1024) return `${(bytes / mib).toFixed(0)} MB`;
    return bytes >= kib ? `${(bytes / kib).toFixed(0)} KB` : `${bytes} bytes`;
  };
  const ago = (iso, now) => {
    const seconds = Math.max(0, Math.round((now - Date.parse(iso)) / 1000));
    if (seconds < 90) return `${seconds} s`;
    if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
    return seconds < 129600 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86400)} days`;
  };
  const clock = (iso) => new Date(iso).toLocaleString([], { dateStyle: "medium", timeStyle: "medium" });

  // --- bars

  // parts: [class, bytes, name]; marks: [class, bytes]
  const bar = (label, whole, parts, marks = []) => {
    const drawing = shape("svg", { class: "live-bar", viewBox: "0 0 1000 20", preserveAspectRatio: "none", role: "img", "aria-label": label });
    drawing.append(shape("rect", { class: "live-fill-free", x: 0, y: 0, width: 1000, height: 20 }));
    const scale = (bytes) => Math.min(1000, Math.max(0, (1000 * bytes) / (whole || 1)));
    let left = 0;
    for (const [kind, bytes] of parts) {
      const width = Math.min(scale(bytes), 1000 - left);
      drawing.append(shape("rect", { class: `live-fill-${kind}`, x: left, y: 0, width, height: 20 }));
      left += width;
    }
    for (const [kind, bytes] of marks) {
      const x = scale(bytes);
      drawing.append(shape("line", { class: `live-mark-${kind}`, x1: x, x2: x, y1: 0, y2: 20, "vector-effect": "non-scaling-stroke" }));
    }
    return drawing;
  };
  const legend = (parts) => {
    const list = element("ul", { class: "live-legend" });
    for (const [kind, bytes, name] of parts) {
      const key = shape("svg", { class: "live-key", viewBox: "0 0 1 1", "aria-hidden": "true" });
      key.append(shape("rect", { class: `live-fill-${kind}`, width: 1, height: 1 }));
      list.append(element("li", {}, key, `${name} ${size(bytes)}`));
    }
    return list;
  };
  const caption = (left, right) =>
    element("p", { class: "live-caption" }, element("strong", {}, left), element("span", {}, right));

  // --- lines

  // points: [milliseconds, bytes], oldest first; levels: [name, bytes]; the drawing is 400 by 110
  const drawLine = (drawing, points, most, levels) => {
    const first = points[0][0];
    const span = Math.max(points[points.length - 1][0] - first, 1);
    const x = (when) => ((400 * (when - first)) / span).toFixed(1);
    const y = (bytes) => (105 - (88 * bytes) / most).toFixed(1);
    const line = points.map(([when, bytes]) => `${x(when)},${y(bytes)}`).join(" ");
    drawing.replaceChildren(
      shape("line", { class: "live-axis", x1: 0, x2: 400, y1: 105, y2: 105 }),
      shape("polygon", { class: "live-area", points: `0,105 ${line} 400,105` }),
      shape("polyline", { class: "live-line", points: line }),
    );
    for (const [name, bytes] of levels) {
      const height = y(bytes);
      const end = name === "limit";
      drawing.append(
        shape("line", { class: `live-mark-${name}`, x1: 0, x2: 400, y1: height, y2: height }),
        shape("text", { class: `live-label-${name}`, x: end ? 398 : 2, y: Number(height) - 3, "text-anchor": end ? "end" : "start" }, `${name} ${size(bytes)}`),
      );
    }
  };

  // --- the machine

  const drawHost = (live) => {
    const { host, pressure } = live;
    const operations = host.observed;
    const service = sum(live.processes.filter((row) => row.host === host.name), "rss");
    const other = Math.max(0, host.used - operations - service);
    const promised = Math.max(0, host.charged - operations);
    const free = Math.max(0, host.available - promised);
    const parts = [
      ["operations", operations, "operations"],
      ["service", service, "this service"],
      ["other", other, "everything else"],
      ["promised", promised, "promised, not yet taken"],
    ];
    const pauseAt = host.effective_limit - pressure.pause_below;
    const shedAt = host.effective_limit - pressure.shed_below;
    const said = `${size(host.used)} of ${size(host.effective_limit)} in use, ${size(host.available)} available`;
    const budget = [["operations", operations, "in use"], ["promised", promised, "reserved"]];
    const budgetSaid = `${size(host.charged)} of ${size(host.budget)} charged, ${size(host.free)} free for one more operation; ${host.places_taken} of ${host.places} places taken`;
    const nodes = [
      caption(`Memory of ${host.name}`, said),
      bar(said, host.effective_limit, parts, [["warn", pauseAt], ["limit", shedAt]]),
      legend([...parts, ["free", free, "free"]]),
      caption("Budget for operations", budgetSaid),
      bar(budgetSaid, host.budget, budget, [["warn", host.heavy_budget]]),
      element("p", { class: "help" },
        `Admission pauses below ${size(pressure.pause_below)} available; below ${size(pressure.shed_below)} one operation is ended. ` +
        `One operation may take up to ${size(live.settings.process_memory_limit)}; ${size(host.budget - host.heavy_budget)} of the budget is kept for small ones. ` +
        `Swap in use: ${size(host.swap_used)}.` +
        (host.psi_some_avg10 === null ? "" : ` Stalled on memory: ${host.psi_some_avg10} % of the last 10 s.`) +
        ` Read from ${host.sources.join(", ")}.`),
    ];
    if (host.samples.length > 1) {
      const points = host.samples.map(([when, bytes]) => [when * 1000, bytes]);
      const span = ago(new Date(points[0][0]).toISOString(), Date.parse(live.at));
      const drawing = shape("svg", { class: "live-chart live-history", viewBox: "0 0 400 110", preserveAspectRatio: "none", role: "img", "aria-label": `Memory in use over the last ${span}` });
      drawLine(drawing, points, host.effective_limit, []);
      nodes.push(caption("In use", `the last ${span}`), drawing);
    }
    if (pressure.message) nodes.push(element("p", { class: "live-alert" }, pressure.message));
    for (const row of live.hosts.filter((row) => row.name !== host.name)) {
      const text = `${size(row.available)} of ${size(row.effective_limit)} available, ${row.running} running, ${size(row.reserved)} reserved of ${size(row.budget)}`;
      nodes.push(caption(row.name, text), bar(text, row.effective_limit, [["other", row.effective_limit - row.available]]));
    }
    at("live-host").replaceChildren(...nodes);
  };

  // --- operations, each with a chart that keeps what it has seen

  class Chart {
    constructor(operation) {
      this.points = operation.samples.map(([when, bytes]) => [when * 1000, bytes]);
      this.title = element("h3", {}, operation.label);
      this.numbers = element("p", { class: "live-numbers" });
      this.drawing = shape("svg", { class: "live-chart", viewBox: "0 0 400 110", role: "img" });
      this.node = element("article", { class: "live-operation", "data-operation": operation.id }, this.title, this.numbers, this.drawing);
    }

    update(operation, now) {
      this.points.push([now, operation.observed]);
      if (this.points.length > MOST_POINTS) this.points = this.points.filter((_, index) => index % 2 === 0);
      const limit = operation.limit ? `, limit ${size(operation.limit)}` : "";
      this.numbers.textContent =
        `${size(operation.observed)} now, peak ${size(operation.peak)}, estimate ${size(operation.reserved)}${limit}; ` +
        `${operation.kind} for ${ago(operation.started_at, now)} on ${operation.host}`;
      this.drawing.setAttribute("aria-label", `Memory of ${operation.label}: ${this.numbers.textContent}`);
      this.draw(operation);
    }

    draw(operation) {
      const seen = Math.max(operation.peak, operation.reserved, ...this.points.map(([, bytes]) => bytes), 1);
      const limitFits = operation.limit > 0 && operation.limit <= 3 * seen;
      const levels = [["estimate", operation.reserved]];
      if (limitFits) levels.push(["limit", operation.limit]);
      drawLine(this.drawing, this.points, limitFits ? Math.max(seen, operation.limit) : seen, levels);
      if (operation.limit && !limitFits) {
        this.drawing.append(shape("text", { class: "live-label-limit", x: 398, y: 8, "text-anchor": "end" }, `limit ${size(operation.limit)}, above`));
      }
    }
  }

  const drawOperations = (live, now) => {
    const box = at("live-operations");
    const running = new Set(live.operations.map((operation) => operation.id));
    for (const [id, chart] of charts) {
      if (running.has(id)) continue;
      chart.node.remove();
      charts.delete(id);
    }
    for (const operation of live.operations) {
      if (!charts.has(operation.id)) {
        charts.set(operation.id, new Chart(operation));
        box.append(charts.get(operation.id).node);
      }
      charts.get(operation.id).update(operation, now);
    }
    showNone(box, live.operations);
  };

  // --- lists

  const showNone = (list, rows) => {
    list.parentElement.querySelector(".live-none").hidden = rows.length > 0;
  };
  const drawRows = (id, rows, describe) => {
    const list = at(id);
    list.replaceChildren(...rows.map((row) => element("li", {}, ...describe(row))));
    const none = list.parentElement.querySelector(".live-none");
    if (none) none.hidden = rows.length > 0;
  };
  const strong = (text) => element("strong", {}, text);
  const detail = (text) => element("span", { class: "live-detail" }, text);

  const drawQueue = (live, now) =>
    drawRows("live-queue", live.queue, (row) => [
      strong(row.label),
      element("span", {}, row.reason),
      detail(`${size(row.bytes)}, waiting for ${ago(row.waiting_since, now)}${row.priority ? `, priority ${row.priority}` : ""}`),
    ]);

  const drawIncidents = (live) => {
    drawRows("live-incidents", live.incidents, (row) => [
      strong(row.title),
      element("span", {}, row.message),
      detail(`${clock(row.at)}${row.operation_key ? `, ${row.operation_kind} ${row.operation_key}` : ""}`),
    ]);
    const newest = live.incidents.length ? live.incidents[0].id : 0;
    if (newestIncident !== null && newest > newestIncident) {
      at("live-news").textContent = `New incident: ${live.incidents[0].title}. ${live.incidents[0].message}`;
    }
    newestIncident = newest;
  };

  const drawProcesses = (live) => {
    const { memory_limit: limit, memory_warning_threshold: warning } = live.settings;
    drawRows("live-processes", live.processes, (row) => {
      const said = `${size(row.rss)} of ${size(limit)}`;
      const kind = { ok: "service", over_warning: "warned", over_limit: "over" }[row.level];
      const state = row.accepting ? detail("takes work") : element("span", { class: "live-alert" }, `takes no work: ${row.reason}`);
      return [
        strong(`${row.role} ${row.pid}`),
        element("span", {}, said),
        detail(`peak ${size(row.peak)}`),
        state,
        bar(said, limit * 1.05, [[kind, row.rss]], [["warn", warning], ["limit", limit]]),
      ];
    });
  };

  const drawEstimates = (live) =>
    drawRows("live-estimates", live.estimates, (row) => {
      const whole = Math.max(row.estimated, row.observed_max) * 1.05;
      const said = `last peak ${size(row.observed)}, estimate was ${size(row.estimated)}`;
      return [
        strong(row.kind),
        element("span", {}, said),
        detail(`${row.features || "all alike"}; highest of the last ${row.count}: ${size(row.observed_max)}; ${row.low} over estimate`),
        bar(said, whole, [[row.observed > row.estimated ? "over" : "operations", row.observed]], [["estimate", row.estimated]]),
      ];
    });

  const drawLayers = (live) =>
    drawRows("live-layers", live.layers, (row) => [
      strong(row.name.replaceAll("_", " ")),
      element("span", { class: row.active ? "live-yes" : "live-no" }, row.active ? "active" : "not available here"),
      detail(row.meaning),
    ]);

  // --- the loop

  const draw = (live) => {
    const now = Date.parse(live.at);
    drawHost(live);
    drawOperations(live, now);
    drawQueue(live, now);
    drawIncidents(live);
    drawProcesses(live);
    drawEstimates(live);
    drawLayers(live);
    at("live-updated").textContent = `Updated ${new Date(now).toLocaleTimeString()}`;
  };

  class LoggedOut extends Error {}

  const ask = async () => {
    const answer = await fetch(page.dataset.url, { headers: { Accept: "application/json" }, credentials: "same-origin" });
    if (answer.redirected || answer.status === 401 || answer.status === 403) throw new LoggedOut();
    if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
    return answer.json();
  };

  const complain = (error) => {
    const trouble = at("live-trouble");
    if (error instanceof LoggedOut) {
      trouble.replaceChildren("You are logged out. ", element("a", { href: page.dataset.login }, "Log in again"), ".");
    } else {
      trouble.textContent = `These numbers are old: ${error.message}. Trying again.`;
    }
    trouble.hidden = false;
  };

  const update = async () => {
    window.clearTimeout(timer);
    if (paused || document.hidden) return;
    try {
      draw(await ask());
      at("live-trouble").hidden = true;
      failures = 0;
    } catch (error) {
      complain(error);
      failures += 1;
    }
    window.clearTimeout(timer);
    timer = window.setTimeout(update, Math.min(PERIOD_MS * (failures + 1), SLOWEST_MS));
  };

  at("live-pause").addEventListener("click", (event) => {
    paused = !paused;
    event.currentTarget.setAttribute("aria-pressed", String(paused));
    event.currentTarget.textContent = paused ? "Continue" : "Pause";
    update();
  });
  document.addEventListener("visibilitychange", update);
  update();
})();
