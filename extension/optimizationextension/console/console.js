// SPDX-License-Identifier: Apache-2.0

// The console of the optimization extension. Telemetry is hostile until shown otherwise: every value enters the page as the text of a
// node, never as markup, and nothing is loaded from anywhere else.
"use strict";

const refreshMillis = 2000;
const slowMillis = 10000; // changes, costs and cardinality
const maxLines = 8;
const minSaves = 10; // series; what saves less is not worth a line
const maxRows = 300;
const maxCards = 60;

const byID = (id) => document.getElementById(id);

// el makes an element. Children that are strings or numbers become text nodes; null and undefined are left out.
function el(tag, className, ...children) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  for (const child of children.flat()) {
    if (child === null || child === undefined) continue;
    node.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  return node;
}

function withTitle(node, title) {
  node.title = title;
  return node;
}

const isNumber = (v) => typeof v === "number" && Number.isFinite(v);

function percent(v, digits = 1) {
  return isNumber(v) ? `${(100 * v).toFixed(digits)} %` : "–";
}

// ratio prints enough digits to tell 99.9 from 99.99.
function ratio(v) {
  if (!isNumber(v)) return "–";
  const digits = v > 0.999 ? 3 : v > 0.99 ? 2 : 1;
  return percent(v, digits).replace(/(\.\d*?)0+ %$/, "$1 %").replace(/\. %$/, " %");
}

function burnText(v) {
  if (!isNumber(v)) return "–";
  return v >= 100 ? v.toFixed(0) : v >= 10 ? v.toFixed(1) : v.toFixed(2);
}

function count(v) {
  if (!isNumber(v)) return "–";
  return new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 }).format(v);
}

// clock prints a moment in event time; the day is added when it is not the one the data is of.
function clock(iso, today) {
  const at = new Date(iso);
  if (Number.isNaN(at.getTime()) || at.getTime() <= 0) return "–";
  const text = at.toISOString();
  const time = `${text.slice(11, 19)} UTC`;
  return text.slice(0, 10) === today ? time : `${text.slice(0, 10)} ${time}`;
}

const stateLook = {
  ok: ["ok", "ok"], burning: ["bad", "burning"], exhausted: ["bad", "exhausted"],
  insufficient_data: ["", "too little data"], frozen: ["warn", "frozen"],
};
const stateOrder = ["exhausted", "burning", "frozen", "ok", "insufficient_data"];

const level = (severity) => (severity === "page" ? "bad" : severity === "ticket" ? "warn" : "");

// budgetText says what is left of a budget, or how many budgets were spent.
function budgetText(left) {
  if (!isNumber(left)) return el("span", "", "–");
  if (left >= 0) return el("span", "", el("b", "", percent(left, 0)), " left");
  return el("span", "", el("b", "", `${burnText(1 - left)}×`), " spent");
}

function objectiveRow(s) {
  const pages = (s.alerts || []).some((a) => a.severity === "page");
  let [look, label] = stateLook[s.state] || ["", String(s.state)];
  if (s.state === "burning" && !pages) look = "warn";
  const groups = Object.entries(s.group || {}).filter(([k]) => k !== "service.name").map(([k, v]) => `${k}=${v}`);
  const about = [s.service || null, ...groups, s.owner ? `owner ${s.owner}` : null].filter(Boolean).join(" · ");
  const alerts = (s.alerts || []).map((a) => el("span", `badge ${level(a.severity)}`, a.name));

  const left = s.error_budget_remaining;
  const share = isNumber(left) ? Math.min(1, Math.max(0, left)) : 0;
  const tone = !isNumber(left) ? "" : left <= 0.1 ? "bad" : left <= 0.4 ? "warn" : "";
  const fill = el("i");
  fill.style.width = `${isNumber(left) && left <= 0 ? 100 : 100 * share}%`;
  const budget = el("div", "budget",
    el("div", "figures",
      withTitle(budgetText(left), `error budget of ${s.window}`),
      withTitle(el("span", "sub", `${ratio(s.compliance)} of ${ratio(s.target)}`), "compliance of target")),
    el("div", `bar ${tone}`, isNumber(left) ? fill : null));

  const burns = el("div", "burns", (s.burn_rates || []).map((b) => {
    const hot = !isNumber(b.rate) ? "" : b.rate >= 6 ? "bad" : b.rate > 1 ? "warn" : "";
    return withTitle(el("div", `burn ${hot}`, el("small", "", b.window), el("b", "", burnText(b.rate))), `burn rate over ${b.window}`);
  }));

  return el("div", `row ${look === "ok" ? "" : look}`,
    el("div", "cell",
      el("div", "name", withTitle(el("span", "", s.name), s.name), el("span", `badge ${look}`, label)),
      el("div", "about", alerts, withTitle(el("span", "sub", about || `${count(s.good + s.bad)} events`), `${about}; ${count(s.good + s.bad)} events, ${percent(s.coverage, 0)} of the window observed`))),
    budget, burns);
}

function facts(list) {
  const dl = el("dl", "facts");
  for (const [name, value] of list) {
    if (value === null || value === undefined || value === "" || (Array.isArray(value) && value.length === 0)) continue;
    dl.append(el("dt", "", name), el("dd", "", value));
  }
  return dl;
}

// link makes an anchor of a URL only if it is a plain web address; anything else stays text.
function link(text) {
  let url;
  try {
    url = new URL(text);
  } catch {
    return text;
  }
  if (url.protocol !== "https:" && url.protocol !== "http:") return text;
  const a = el("a", "", text);
  a.href = url.href;
  a.rel = "noreferrer noopener";
  a.target = "_blank";
  return a;
}

const openCards = new Set();

function signalCard(g, today) {
  const ended = ["resolved", "superseded", "expired"].includes(g.state);
  const look = ended ? (g.state === "resolved" ? "ok" : "") : level(g.severity);
  const ev = g.evidence || {};
  const rules = [...new Set((ev.windows || []).map((w) => w.rule))];
  const windows = rules.map((rule) => el("div", "clip", el("code", "", rule), "  ",
    ev.windows.filter((w) => w.rule === rule).map((w) => `${w.window} ${burnText(w.burn_rate)}×`).join(", "),
    ` (fires at ${burnText(ev.windows.find((w) => w.rule === rule).threshold)}×)`));
  const contributors = (ev.contributors || []).slice(0, 3).map((c) => el("div", "clip", el("code", "", `${c.attribute} = ${c.value}`), isNumber(c.share) ? `  ${percent(c.share, 0)} of the bad events` : ""));
  const traces = (ev.exemplars || []).slice(0, 5).map((x) => el("span", "trace", x.trace_id));
  const action = g.action || {};
  const alternatives = (action.alternatives || []).length ? `, or ${action.alternatives.join(", ")}` : "";
  const stats = ev.statistics || {};

  const more = el("details", "",
    el("summary", "", "Evidence"),
    facts([
      ["windows", windows],
      ["events", isNumber(stats["events.bad"]) ? `${count(stats["events.bad"])} bad, ${count(stats["events.good"])} good (${percent(stats.bad_ratio)} bad)` : null],
      ["contributors", contributors],
      ["traces", traces],
      ["observed", isNumber(ev.coverage) ? `${percent(ev.coverage, 0)} of the window` : null],
      ["withheld", (ev.withheld || []).join(", ")],
      ["valid", `${clock(g.valid_from, today)} to ${clock(g.expires_at, today)}`],
      ["id", el("code", "", g.id)],
      ["ledger", g.audit ? el("code", "", `#${g.audit.seq} ${g.audit.hash.slice(0, 16)}…`) : null],
    ]));
  more.open = openCards.has(g.id);
  more.addEventListener("toggle", () => (more.open ? openCards.add(g.id) : openCards.delete(g.id)));

  return el("article", `card ${look === "ok" ? "" : look} ${ended ? "ended" : ""}`,
    el("div", "card-head",
      el("span", `badge ${look}`, ended ? g.state : `${g.severity} · ${g.state}`),
      ev.profile === "demo" ? el("span", "badge demo", "demo") : null,
      withTitle(el("span", "kind clip", g.kind), g.kind),
      el("span", "when", clock(g.updated_at, today))),
    el("h3", "", g.summary),
    facts([
      ["action", ended ? null : `${action.verb}${action.params && action.params.urgency ? ` (${action.params.urgency.replace("_", " ")})` : ""}${alternatives}`],
      ["confidence", ended || !g.confidence || g.confidence.method === "threshold_only" ? null : g.confidence.value > 0.999 ? "above 99.9 %" : percent(g.confidence.value)],
      ["owner", g.owner || null],
      ["runbook", g.runbook ? link(g.runbook) : null],
    ]),
    more);
}

const changeLook = { failed: "bad", succeeded: "ok", started: "warn" };
const wasteText = {
  idle: "nobody uses it", unmounted: "nobody mounts it", no_requests: "served nothing", unused: "mostly unused", unallocated: "nobody owns it",
};

function money(v, currency) {
  if (!isNumber(v)) return "–";
  return `${new Intl.NumberFormat("en", { maximumSignificantDigits: 3 }).format(v)} ${currency || ""}`.trim();
}

// line is a name with what is said about it, a figure at its right and, where share is a number, a bar.
function line({ name, about, badges, figure, title, share, tone }) {
  const fill = el("i");
  if (isNumber(share)) fill.style.width = `${100 * Math.min(1, Math.max(0, share))}%`;
  return el("div", "line",
    el("div", "cell",
      el("div", "name", withTitle(el("span", "", name), name), badges || []),
      about ? withTitle(el("div", "sub", about), about) : null,
      isNumber(share) ? el("div", `bar ${tone || ""}`, fill) : null),
    withTitle(el("div", "figure", figure), title || ""));
}

const shownOf = (list) => (list.length > maxLines ? `, ${list.length - maxLines} not shown` : "");

function changeLine(c, today) {
  const what = [c.version, c.flag && `${c.flag} = ${c.variant || "?"}`].filter(Boolean).join(" · ");
  const name = [c.service || c.environment || c.id, what].filter(Boolean).join(" ");
  return line({
    name, about: [c.action || c.kind, c.environment, c.tool === "telemetry" ? "seen in telemetry" : c.tool].filter(Boolean).join(" · "),
    badges: [c.state ? el("span", `badge ${changeLook[c.state] || ""}`, c.state) : null], figure: clock(c.time, today), title: c.id,
  });
}

// costLines are budgets first, then what is paid for nothing, then services by what an hour of them costs.
function costLines(costs) {
  const lines = [];
  for (const source of Object.values(costs.sources)) {
    for (const b of source.budgets || []) {
      lines.push(line({
        name: b.name, about: `${money(b.expected, b.currency)} expected by the end of the month${b.breach ? `, crossed on ${b.breach}` : ""}`,
        badges: [el("span", "badge", "budget")], figure: `${money(b.spent)} of ${money(b.limit, b.currency)}`,
        share: b.spent / b.limit, tone: b.breach ? "bad" : b.spent > 0.6 * b.limit ? "warn" : "",
      }));
    }
  }
  const wasted = new Set();
  for (const w of costs.waste) {
    wasted.add(`${w.service}\n${w.owner}`);
    lines.push(line({
      name: w.service, about: w.owner ? `owner ${w.owner}` : null,
      badges: [el("span", "badge warn", wasteText[w.reason] || w.reason)], figure: `${money(w.hourly, w.currency)} / h`,
    }));
  }
  const accounts = Object.values(costs.sources).filter((s) => s.resources)
    .flatMap((s) => (s.resources.accounts || []).map((a) => ({ ...a, currency: s.resources.currency })))
    .filter((a) => a.hourly > 0 && !wasted.has(`${a.service}\n${a.owner}`)).sort((a, b) => b.hourly - a.hourly);
  for (const a of accounts) {
    lines.push(line({
      name: a.service, about: [a.owner ? `owner ${a.owner}` : null, a.per_request ? `${money(a.per_request, a.currency)} a request` : null].filter(Boolean).join(" · "),
      figure: `${money(a.hourly, a.currency)} / h`,
    }));
  }
  const telemetry = Object.values(costs.sources).filter((s) => s.telemetry)
    .flatMap((s) => (s.telemetry.accounts || []).map((a) => ({ ...a, currency: s.telemetry.currency, stage: s.telemetry.stage })))
    .filter((a) => a.amount > 0).sort((a, b) => b.amount - a.amount);
  for (const a of telemetry) {
    lines.push(line({ name: a.service, about: `telemetry, ${a.stage}`, figure: money(a.amount, a.currency), title: "since the collector began to count" }));
  }
  return lines;
}

function seriesLines(answer) {
  const price = answer.price || {};
  const advice = answer.advice.filter((a) => a.saves_series >= minSaves).slice(0, 3).map((a) => line({
    name: a.attribute, about: `${a.metric} of ${a.scope}`, badges: [el("span", "badge", "could go")],
    figure: isNumber(a.saves_per_month) ? `${money(a.saves_per_month, price.currency)} / month` : `${count(a.saves_series)} series`, title: a.text,
  }));
  const metrics = Object.values(answer.limiters).flatMap((l) => l.metrics || []).filter((m) => m.wanted > m.series).sort((a, b) => b.wanted - a.wanted);
  return metrics.map((m) => line({
    name: m.metric, about: m.scope, badges: [el("span", "badge warn", "folded")], figure: `${count(m.series)} of ${count(m.wanted)} series`,
    title: "sent, of those wanted", share: m.series / m.wanted, tone: "warn",
  })).concat(advice);
}

function renderPanel(id, lines, note) {
  byID(`${id}-panel`).hidden = lines.length === 0;
  byID(id).replaceChildren(...lines.slice(0, maxLines));
  byID(`${id}-note`).textContent = `${note}${shownOf(lines)}`;
}

function renderExtras(extras) {
  const list = extras.changes.changes;
  const today = list.length ? String(list[0].time).slice(0, 10) : "";
  renderPanel("changes", list.map((c) => changeLine(c, today)), today ? `as of ${today}` : "");
  renderPanel("cost", costLines(extras.costs), "an hour of each service, and what is paid for nothing");
  const saved = isNumber(extras.series.saved_per_month) ? `, ${money(extras.series.saved_per_month, (extras.series.price || {}).currency)} a month saved` : "";
  renderPanel("series", seriesLines(extras.series), `${count(extras.series.series)} series sent, ${count(extras.series.series_not_sent)} not${saved}`);
}

function tile(label, value, className) {
  return el("div", value > 0 ? className : "", el("dt", "", label), el("dd", "", value));
}

const mentions = (needle, ...texts) => needle === "" || texts.some((t) => String(t || "").toLowerCase().includes(needle));

function render(data) {
  const needle = byID("filter").value.trim().toLowerCase();
  const slos = data.slos.slos;
  const signals = data.signals.signals;
  const latest = slos.map((s) => s.as_of).concat(signals.map((g) => g.updated_at)).sort().pop() || "";
  const today = latest.slice(0, 10);
  const firing = signals.filter((g) => g.state === "firing");

  byID("tiles").replaceChildren(
    tile("objectives", slos.length, ""),
    tile("burning", slos.filter((s) => s.state === "burning").length, "warn"),
    tile("exhausted", slos.filter((s) => s.state === "exhausted").length, "bad"),
    tile("paging", firing.filter((g) => g.severity === "page").length, "bad"),
    tile("ticketed", firing.filter((g) => g.severity === "ticket").length, "warn"));
  byID("demo").hidden = !slos.some((s) => s.alert_profile === "demo") && !signals.some((g) => (g.evidence || {}).profile === "demo");

  const rank = (s) => (stateOrder.includes(s.state) ? stateOrder.indexOf(s.state) : stateOrder.length);
  const budget = (s) => (isNumber(s.error_budget_remaining) ? s.error_budget_remaining : 2);
  const shown = slos
    .filter((s) => mentions(needle, s.name, s.service, s.owner, ...Object.values(s.group || {})))
    .sort((a, b) => rank(a) - rank(b) || budget(a) - budget(b) || a.name.localeCompare(b.name) || (a.service || "").localeCompare(b.service || ""));
  const left = shown.length - maxRows + data.slos.left_out;
  byID("columns").hidden = shown.length === 0;
  byID("objectives").replaceChildren(...(shown.length ? shown.slice(0, maxRows).map(objectiveRow) : [el("p", "empty", slos.length ? "No objective matches." : "No objective has been seen yet. Objectives come from the slo extension.")]));
  byID("objectives-note").textContent = `as of ${clock(latest, today)}${left > 0 ? `, ${left} not shown` : ""}`;

  const cards = signals.filter((g) => mentions(needle, g.summary, g.target.service, g.target.objective, g.owner, g.kind));
  cards.sort((a, b) => (b.state === "firing") - (a.state === "firing") || (b.severity === "page") - (a.severity === "page") || b.updated_at.localeCompare(a.updated_at));
  byID("signals").replaceChildren(...(cards.length ? cards.slice(0, maxCards).map((g) => signalCard(g, today)) : [el("p", "empty", signals.length ? "No signal matches." : "No signal yet: nothing burns its error budget too fast.")]));
  byID("signals-note").textContent = data.signals.total ? `${firing.length} firing of ${data.signals.total}` : "";
}

async function get(path, schema) {
  const response = await fetch(path, { headers: { Accept: "application/json" }, cache: "no-store" });
  const text = await response.text();
  if (!response.ok) throw new Error(`status ${response.status}`);
  const body = JSON.parse(text);
  if (body.schema !== schema) throw new Error("an answer that is not ours");
  return { body, text };
}

let last = null;
let lastText = "";
let firstCard = true;
let extrasAt = -Infinity;

async function refreshExtras() {
  if (performance.now() - extrasAt < slowMillis) return;
  const [changes, costs, series] = await Promise.all([
    get("api/v1/changes?limit=50", "pitwall.changes/v1"), get("api/v1/costs", "pitwall.costs.all/v1"), get("api/v1/cardinality?limit=50", "pitwall.cardinality/v1"),
  ]);
  renderExtras({ changes: changes.body, costs: costs.body, series: series.body });
  extrasAt = performance.now();
}

async function refresh() {
  const status = byID("link");
  try {
    const [slos, signals] = await Promise.all([
      get("api/v1/slos", "pitwall.slos/v1"),
      get("api/v1/signals?limit=200", "pitwall.signals/v1"),
    ]);
    last = { slos: slos.body, signals: signals.body };
    const text = slos.text + signals.text;
    if (text !== lastText) {
      if (firstCard && last.signals.signals.length) {
        // The newest signal shows its evidence unasked, once.
        const newest = last.signals.signals.find((g) => g.state === "firing") || last.signals.signals[0];
        openCards.add(newest.id);
        firstCard = false;
      }
      render(last);
      lastText = text;
    }
    await refreshExtras();
    status.className = "link";
    byID("link-text").textContent = `live, ${new Date().toLocaleTimeString("en-GB")}`;
  } catch (error) {
    status.className = "link lost";
    byID("link-text").textContent = `no contact: ${error.message}`;
  }
  setTimeout(refresh, refreshMillis);
}

byID("filter").addEventListener("input", () => last && render(last));
refresh();
