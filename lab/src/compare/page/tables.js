// The verdicts and the prices: two tables with one row per level, in the order of the report.
//
// Every number stands in a <data> element that names its place in report.json (`data-of`) and repeats the number as it is
// there (`value`), so that scripts/check-report can compare the page with the report.
"use strict";

const VERDICTS = {
  kept: ["kept", "kept"],
  violation: ["broken", "broken"],
  undecided: ["doubt", "undecided"],
  invalid: ["doubt", "invalid run"],
};
const LINEARIZABLE = { linearizable: "yes", violation: "no", undecided: "undecided" };
const RATIOS = {
  "latency/all/p50_ns": "p50",
  "latency/all/p99_ns": "p99",
  "latency/all/p999_ns": "p999",
  "operations/all/ok_per_second": "ok_per_second",
  "cost/messages_per_operation": "messages",
  "cost/fsyncs_per_operation": "fsyncs",
};

/** The value at a place such as `levels/0/verdict`. */
function at(report, place) {
  return place.split("/").reduce((value, name) => value[name], report);
}

/** A value of the report, shown as `text(value)`. */
function shown(report, place, text, attributes) {
  const value = at(report, place);
  return html("data", { value: JSON.stringify(value), "data-of": place, ...attributes }, text(value));
}

/** The first table: what each level kept. Each column: heads, place, how it is shown, what stands below it in small type. */
const KEPT_COLUMNS = [
  [
    "Stale",
    "reads",
    [["staleness/reads/percent", percent]],
    (level) => `${count(level.staleness.reads.count)} of ${count(level.staleness.reads.judged)}`,
  ],
  [
    "Their age",
    "p50, p99, max",
    [
      ["staleness/age_ns/p50", duration],
      ["staleness/age_ns/p99", duration],
      ["staleness/age_ns/max", duration],
    ],
    null,
  ],
  [
    "Versions",
    "they missed",
    [
      ["staleness/versions/p50", count],
      ["staleness/versions/p99", count],
      ["staleness/versions/max", count],
    ],
    null,
  ],
  ["Own write", "not seen", [["sessions/read_your_writes/percent", percent]], null],
  ["Read went", "backwards", [["sessions/monotonic_reads/percent", percent]], null],
  [
    "Lost",
    "updates",
    [["lost_updates/percent", percent]],
    (level) =>
      level.lost_updates.judged === 0 ? "none judged" : `${count(level.lost_updates.count)} of ${count(level.lost_updates.judged)}`,
  ],
  [
    "Writes",
    "gone",
    [["lost_writes/count", count]],
    (level) => (level.lost_writes.judged === 0 ? "none judged" : `of ${count(level.lost_writes.judged)}`),
  ],
  ["Siblings", "made", [["siblings/made", count]], null],
  ["cas", "conflicts", [["conflicts/percent", percent]], null],
  ["Γ", "max", [["gamma/ns/max", duration]], null],
];

/** The second table: what it cost. */
const COST_COLUMNS = [
  ["Answered", "", [["operations/all/ok_percent", percent]], (level) => plural(level.operations.all.total, "operation")],
  ["Refused", "", [["operations/all/refused_percent", percent]], null],
  ["Unknown", "", [["operations/all/unknown_percent", percent]], null],
  ["Longest gap", "", [["availability/longest_gap/ns", duration]], null],
  ["Answered", "per second", [["operations/all/ok_per_second", decimal]], null],
  ["Latency", "p50", [["latency/all/p50_ns", duration]], null],
  ["Latency", "p99", [["latency/all/p99_ns", duration]], null],
  ["Latency", "p99.9", [["latency/all/p999_ns", duration]], null],
  ["Messages", "per operation", [["cost/messages_per_operation", decimal]], null],
  ["fsyncs", "per operation", [["cost/fsyncs_per_operation", decimal]], null],
];

function headRow(names, columns) {
  const heads = columns.map(([name, part]) => html("th", { scope: "col", class: "number" }, `${name} `, part && html("small", {}, part)));
  return html(
    "thead",
    {},
    html(
      "tr",
      {},
      names.map((name) => html("th", { scope: "col" }, name)),
      heads,
    ),
  );
}

function levelHead(level, index) {
  const both = level.read === level.write ? null : html("small", {}, `reads ${level.read}, writes ${level.write}`);
  return html("th", { scope: "row", id: `level-${level.slug}` }, levelName(level.name, index), both);
}

/** The first value of a cell, and further ones below it, each with its name; nothing below if nothing is known. */
function values(report, base, [[place, text], ...further]) {
  const known = further.filter(([place]) => at(report, base + place) !== null);
  const names = known.map(([place, text]) =>
    html("small", {}, `${place.slice(place.lastIndexOf("/") + 1)} `, shown(report, base + place, text)),
  );
  return [shown(report, base + place, text), names];
}

function numberCell(report, base, level, [, , parts, below]) {
  const nothing = [0, null].includes(at(report, base + parts[0][0]));
  return html("td", { class: nothing ? "number none" : "number" }, values(report, base, parts), below && html("small", {}, below(level)));
}

function promiseCell(report, base, level) {
  const [look, word] = VERDICTS[level.verdict] ?? ["doubt", level.verdict];
  const chip = shown(report, `${base}verdict`, () => word, { class: `verdict ${look}` });
  const promised = level.promise.promised.filter((name) => name !== "every-level").map((name) => name.replaceAll("-", " "));
  return html("td", {}, chip, html("small", {}, promised.join(", ") || "only what every level does"));
}

function linearizableCell(report, base, level) {
  const { verdict, keys } = level.linearizability;
  const word = shown(report, `${base}linearizability/verdict`, (verdict) => LINEARIZABLE[verdict] ?? verdict, { class: "plain" });
  const bad = {
    violation: `on ${count(keys.violated)} of ${plural(keys.total, "key")}`,
    undecided: `on ${count(keys.undecided)} of ${plural(keys.total, "key")}`,
  }[verdict];
  return html("td", {}, word, html("small", {}, bad ?? plural(keys.total, "key")));
}

function keptTable(report) {
  const rows = report.levels.map((level, index) => {
    const base = `levels/${index}/`;
    const numbers = KEPT_COLUMNS.map((column) => numberCell(report, base, level, column));
    return html("tr", {}, levelHead(level, index), promiseCell(report, base, level), linearizableCell(report, base, level), numbers);
  });
  const head = headRow(["Level", "Own promise", "Linearizable"], KEPT_COLUMNS);
  return html(
    "div",
    { class: "scroll" },
    html("table", { id: "kept" }, html("caption", { class: "unseen" }, "What each level kept"), head, html("tbody", {}, rows)),
  );
}

/** A number with what it is in proportion to the same number of the level `against`, if the report says so. */
function costCell(report, base, level, column, against) {
  const cell = numberCell(report, base, level, column);
  const name = RATIOS[column[2][0][0]];
  const position = report.ratios.findIndex((ratio) => ratio.level === level.name && ratio.against === against);
  if (name && position >= 0) cell.append(html("small", {}, shown(report, `ratios/${position}/${name}`, ratio)));
  return cell;
}

function costTable(report, against) {
  const rows = report.levels.map((level, index) => {
    const base = `levels/${index}/`;
    return html(
      "tr",
      {},
      levelHead(level, index),
      COST_COLUMNS.map((column) => costCell(report, base, level, column, against)),
    );
  });
  for (const row of rows) row.firstChild.removeAttribute("id");
  const caption = html("caption", { class: "unseen" }, `What each level cost; × is in proportion to ${against}`);
  return html(
    "div",
    { class: "scroll" },
    html("table", { id: "cost" }, caption, headRow(["Level"], COST_COLUMNS), html("tbody", {}, rows)),
  );
}

/** The second table, with the choice of what it is set against. */
function costs(report) {
  const names = [...new Set(report.ratios.map((ratio) => ratio.against))];
  const table = html("div", {}, costTable(report, names[0]));
  if (names.length === 0) return table;
  const choice = html("select", { id: "against", onchange: () => table.replaceChildren(costTable(report, choice.value)) });
  choice.append(...names.map((name) => html("option", { value: name }, name)));
  const choose = html(
    "label",
    { class: "note choose" },
    "× in proportion to ",
    choice,
    names.length > 1 && " (each level against those before it)",
  );
  return html("div", {}, choose, table);
}
