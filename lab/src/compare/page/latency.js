// Latency distributions: the share of operations that took longer, both axes logarithmic, so that the tail is as easy to read
// as the middle. One panel for each kind of operation, all on the same axes.
"use strict";

const KINDS = { read: "Reads", write: "Writes and deletes", cas: "Compare-and-sets" };
/** The shares that have a name, as "slower than". */
const NAMED = [
  [1, "all"],
  [0.5, "p50"],
  [0.1, "p90"],
  [0.01, "p99"],
  [0.001, "p99.9"],
];
/** Where the charts end: rarer operations say little in a short run. */
const SHARE_MIN = 0.0005;

function latencies(report) {
  const kinds = Object.keys(KINDS).filter((kind) => report.levels.some((level) => level.latency[kind].count > 0));
  if (kinds.length === 0) return html("p", { class: "empty" }, "No operation was answered.");
  const bars = report.levels.flatMap((level) => kinds.flatMap((kind) => level.latency[kind].histogram));
  const domain = logarithmicAround(
    bars.filter((bar) => bar.count > 0).flatMap((bar) => [bar.from_ns, bar.within_ns]),
    [1e5, 1e9],
  );
  const panels = kinds.map((kind) => {
    const words = report.levels.map(
      ({ name, latency: { [kind]: series } }) =>
        `${name}: p50 ${duration(series.p50_ns)}, p99 ${duration(series.p99_ns)}, p99.9 ${duration(series.p999_ns)}`,
    );
    const picture = figure(`${KINDS[kind]}: latency. ${words.join("; ")}.`, (width, unit) =>
      latencyChart(report.levels, kind, domain, width, unit),
    );
    return html("div", { class: "panel" }, html("h3", {}, KINDS[kind]), picture);
  });
  return html("div", { class: `panels ${panels.length > 2 ? "three" : "two"}` }, panels);
}

/** Points of (latency, share that took longer). Within a bar the share falls at its end: never better than it was. */
function tailOf(series) {
  let longer = series.count;
  const points = series.histogram.length > 0 ? [[series.histogram[0].from_ns, 1]] : [];
  for (const bar of series.histogram) {
    longer -= bar.count;
    const end = Math.min(bar.within_ns, series.max_ns);
    points.push([end, longer / series.count]);
  }
  return points;
}

function latencyChart(levels, kind, domain, width, unit) {
  const small = unit * 0.85;
  const [left, right] = [unit * 3.4, width - unit * 0.6];
  const x = logarithmic(domain, [left, right]);
  const names = namesOver(levels, kind, x, unit);
  const top = unit * (0.6 + names.rows * 1.1);
  const bottom = top + unit * 15.8;
  const y = logarithmic([SHARE_MIN, 1], [bottom, top]);
  const shares = NAMED.map(([share, name]) => [
    line(left, y(share), right, y(share), { class: "grid" }),
    label(left - small * 0.5, y(share) + small * 0.28, name, { "text-anchor": "end", class: "tick" }),
  ]);
  const minor = x.steps().map((tick) => line(x(tick), top, x(tick), bottom, { class: "minor" }));
  const lines = levels.map((level, index) => tailLine(level.latency[kind], markOf(index), x, y, unit));
  const axis = axisBelow(x, { top, bottom, ticks: x.ticks(), text: duration, title: "latency from the moment it was due", unit: small });
  return canvas(width, bottom + unit * 2.5, svg("g", {}, minor, axis, shares), lines, names.draw(y));
}

function tailLine(series, mark, x, y, unit) {
  if (series.count === 0) return null;
  const points = tailOf(series).map(([ns, share]) => [x(ns), y(Math.max(share, SHARE_MIN))]);
  const named = [
    [0.5, series.p50_ns],
    [0.01, series.p99_ns],
    [0.001, series.p999_ns],
  ].filter(([share]) => share * series.count >= 1);
  return svg(
    "g",
    {},
    svg("path", { d: path(points), class: "series", stroke: mark.colour, "stroke-dasharray": mark.dash }),
    named.map(([share, ns]) => shapeAt(mark, x(ns), y(share), unit * 0.3)),
  );
}

/** The levels' names above the chart in the order of their medians, on as many rows as they need, with thin lines down to them. */
function namesOver(levels, kind, x, unit) {
  const names = levels
    .map((level, index) => ({ text: level.name, index, ns: level.latency[kind].p50_ns }))
    .filter(({ ns }) => ns !== null)
    .sort((a, b) => a.ns - b.ns)
    .map((name) => ({ ...name, width: name.text.length * unit * 0.5 + unit * 1.2 }));
  const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);
  const [left, right] = x.range;
  const rows = Math.max(Math.ceil(sum(names.map(({ width }) => width)) / (right - left)), 1);
  const drawRow = (row, y) => {
    const inRow = names.filter((_, n) => n % rows === row);
    const width = sum(inRow.map((name) => name.width));
    const middle = sum(inRow.map((name) => x(name.ns))) / inRow.length;
    let from = Math.max(Math.min(middle - width / 2, right - width), left);
    return inRow.map((name) => {
      const centre = from + name.width / 2;
      from += name.width;
      const base = unit * (0.8 + row * 1.1);
      return svg(
        "g",
        {},
        svg("path", {
          d: path([
            [centre, base + unit * 0.3],
            [x(name.ns), y(1)],
            [x(name.ns), y(0.5)],
          ]),
          class: "leader",
        }),
        label(centre, base, name.text, { "text-anchor": "middle", class: "strong halo", style: `fill:${markOf(name.index).colour}` }),
      );
    });
  };
  return { rows, draw: (y) => names.length > 0 && Array.from({ length: rows }, (_, row) => drawRow(row, y)) };
}
