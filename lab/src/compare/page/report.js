// The page: reads the report that stands in it, and puts the sections together.
"use strict";

/** What this page understands. */
const FORMAT = 1;

const SECTIONS = [
  [
    "verdicts",
    "Verdicts",
    "What each level kept",
    "Every level is held to its own promise: a stale read at a level that promises nothing about it is a datum, not a failure. Γ is by how much all operations would have to be longer for the history to be linearizable.",
    keptTable,
  ],
  [
    "costs",
    "Cost",
    "What it cost",
    "Latency is that of all answered operations, from the moment at which each was due. Refused and unknown operations have no latency.",
    costs,
  ],
  [
    "availability",
    "Availability",
    "Availability",
    "Operations by the second in which they were due. All levels ran the same work under the same schedule of faults.",
    availability,
  ],
  [
    "latency",
    "Latency",
    "Latency",
    "The share of operations that took longer, both axes logarithmic: further left is faster, and further down is deeper in the tail. The marks are p50, p99 and p99.9.",
    latencies,
  ],
  [
    "staleness",
    "Staleness",
    "Freshness of reads",
    "How likely a read showed the newest acknowledged write of its key, by the time since that acknowledgement.",
    staleness,
  ],
  [
    "counter-examples",
    "Counter-examples",
    "Counter-examples",
    "Who wrote and read what. Filled: a write; hollow: a read; notched: a compare-and-set; open at the end: outcome unknown.",
    (report) => new Timeline(report.levels).element,
  ],
];

/** The answer, in one sentence. */
function headline({ levels, verdict }) {
  const named = (verdict) => levels.filter((level) => level.verdict === verdict).map((level) => level.name);
  const broken = named("violation");
  if (broken.length > 0) return `${listed(broken)} broke ${broken.length === 1 ? "its" : "their"} own promise.`;
  const invalid = named("invalid");
  if (invalid.length > 0) return `No verdict: the run of ${listed(invalid)} was not what it was to be.`;
  const undecided = named("undecided");
  if (verdict !== "kept") return `Nobody knows whether ${listed(undecided)} kept ${undecided.length === 1 ? "its" : "their"} own promise.`;
  return levels.length === 1 ? `${levels[0].name} kept its own promise.` : `All ${levels.length} levels kept their own promise.`;
}

/** What else is worth knowing before the tables: who was stale, and what linearizability cost here. */
function lede({ levels, ratios }) {
  const strong = (text) => html("strong", {}, text);
  const names = (these) => these.map((level, n) => [n === 0 ? "" : n === these.length - 1 ? " and " : ", ", strong(level.name)]);
  const judged = levels.filter((level) => level.staleness.reads.judged > 0);
  const stale = judged.filter((level) => level.staleness.reads.count > 0);
  const fresh = judged.filter((level) => level.staleness.reads.count === 0);
  const shares = stale.map((level, n) => [n > 0 && ", ", strong(percent(level.staleness.reads.percent)), " at ", strong(level.name)]);
  const price = ratios.find((ratio) => ratio.level === "linearizable" && ratio.p50 !== null);
  return html(
    "p",
    { class: "lede" },
    stale.length > 0 && ["Of the reads these were stale: ", shares, fresh.length > 0 && ["; none at ", names(fresh)], ". "],
    stale.length === 0 && fresh.length > 0 && "No read was stale at any level. ",
    price && [
      "At the median ",
      strong(price.level),
      " took ",
      strong(`${threeDigits(price.p50)} times`),
      " as long as ",
      strong(price.against),
      price.messages !== null && [", and ", strong(`${threeDigits(price.messages)} times`), " the messages"],
      ".",
    ],
  );
}

function facts({ run, version }) {
  const faults = run.faults.map((fault) => `${fault.kind} ${fault.target}`);
  const entries = [
    ["Seed", run.seed],
    ["Per level", `${threeDigits(run.seconds)} s`],
    ["Nodes", run.nodes === run.replicas ? count(run.nodes) : `${run.nodes}, ${run.replicas} per key`],
    ["Clients", count(run.clients)],
    ["Keys", count(run.keys)],
    ["Load", run.rate === null ? `${run.mix}, closed loop` : `${run.mix} at ${count(run.rate)}/s`],
    ["Faults", faults.length === 0 ? "none" : listed(faults)],
    ["Against", run.cluster],
    ["Started", run.started],
    ["Version", version],
  ].filter(([, text]) => text !== null);
  return html(
    "dl",
    { class: "facts" },
    entries.map(([name, text]) => html("div", {}, html("dt", {}, name), html("dd", {}, text))),
  );
}

/** What went wrong, by level: broken promises in words, and why a run does not count. */
function alarms({ levels }) {
  return levels
    .filter((level) => level.invalid.length + level.promise.words.length > 0)
    .map((level) => {
      const sentences = [...level.invalid, ...level.promise.words];
      return html(
        "div",
        { class: level.verdict === "violation" ? "alarm" : "alarm doubt", role: "note" },
        `${level.name}:`,
        html(
          "ul",
          {},
          sentences.map((sentence) => html("li", {}, sentence)),
        ),
      );
    });
}

function bar() {
  const links = SECTIONS.map(([id, name]) => html("a", { href: `#${id}` }, name));
  return html(
    "div",
    { class: "bar" },
    html(
      "div",
      { class: "sheet" },
      html("a", { href: "#top", class: "name" }, "quorate ", html("span", {}, "compare")),
      html("nav", { "aria-label": "Sections" }, links),
      themeSwitch(),
    ),
  );
}

function masthead(report) {
  const verdict = html("data", { value: JSON.stringify(report.verdict), "data-of": "verdict" }, headline(report));
  return html("header", { class: "masthead" }, html("h1", {}, verdict), lede(report), facts(report), alarms(report));
}

function histories({ levels }) {
  if (levels.every((level) => level.history === "")) {
    return null;
  }
  const links = levels.map((level, index) => [index > 0 && ", ", html("a", { href: encodeURIComponent(level.history) }, level.history)]);
  return html(
    "footer",
    {},
    "All numbers are in ",
    html("a", { href: "report.json" }, "report.json"),
    "; the operations are in ",
    links,
    ", for ",
    html("code", {}, "quorate check"),
    ".",
  );
}

/** An error is told in the page too, where a reader sees it. */
function tellErrors() {
  const tell = (words) =>
    document.body.prepend(html("p", { class: "alarm", role: "alert", "data-error": true }, `This page could not be drawn whole: ${words}`));
  window.addEventListener("error", (event) => tell(event.message));
  window.addEventListener("unhandledrejection", (event) => tell(String(event.reason)));
}

function draw(report) {
  if (report.format !== FORMAT) throw new Error(`this page reads format ${FORMAT} of report.json, not ${report.format}`);
  document.title = `${headline(report)} quorate compare`;
  const sections = SECTIONS.map(([id, , title, note, content]) =>
    html(
      "section",
      { id, "aria-labelledby": `${id}-title` },
      html("h2", { id: `${id}-title` }, title),
      html("p", { class: "note" }, note),
      content(report),
    ),
  );
  const main = html("main", { class: "sheet", id: "top" }, masthead(report), sections, histories(report));
  document.getElementById("page").replaceChildren(bar(), main);
  drawPictures();
  document.getElementById(fragment())?.scrollIntoView();
  window.dispatchEvent(new HashChangeEvent("hashchange"));
}

tellErrors();
draw(JSON.parse(document.getElementById("report").textContent));
