// Availability over time: one strip per level on one time axis, with what was answered, refused and unknown in each second.
"use strict";

/** The pattern of outcomes that nobody knows. */
function hatching() {
  const stroke = svg("path", { d: "M-1 5L5-1M1 7L7 1", class: "hatch" });
  return svg("defs", {}, svg("pattern", { id: "hatching", width: 6, height: 6, patternUnits: "userSpaceOnUse" }, stroke));
}

function availability(report) {
  const levels = report.levels;
  const words = levels
    .map(
      ({ name, operations, availability }) =>
        `${name}: ${percent(operations.all.ok_percent)} answered, longest gap ${duration(availability.longest_gap.ns)}`,
    )
    .join("; ");
  const picture = figure(`Answered operations per second over time. ${words}.`, (width, unit) => availabilityChart(levels, width, unit));
  const swatch = (attributes) =>
    svg("svg", { width: 14, height: 12, "aria-hidden": "true" }, svg("rect", { width: 14, height: 12, ...attributes }));
  const key = html(
    "ul",
    { class: "key" },
    html("li", {}, swatch({ fill: "var(--series-2)", opacity: 0.4 }), "answered (the level's colour)"),
    html("li", {}, swatch({ fill: "var(--refused)" }), "refused, certainly not applied"),
    html("li", {}, swatch({ fill: "url(#hatching)", stroke: "var(--doubt)" }), "outcome unknown"),
    html("li", {}, swatch({ fill: "var(--band)", opacity: 0.2 }), "a fault, as it was really made and mended"),
    html(
      "li",
      {},
      svg(
        "svg",
        { width: 18, height: 12, class: "chart", "aria-hidden": "true" },
        svg("path", { d: "M1 2V10M1 6H17M17 2V10", class: "gap" }),
      ),
      "longest time without any answer",
    ),
  );
  return html("div", {}, key, picture);
}

function availabilityChart(levels, width, unit) {
  const left = unit * Math.max(9.2, Math.max(...levels.map((level) => level.name.length)) * 0.55 + 4.5);
  const right = width - unit * 0.5;
  const strip = unit * 4.6;
  const space = unit * 1.5;
  const last = Math.max(...levels.map((level) => level.window.end_ns - level.window.begin_ns));
  const x = linear([0, last], [left, right]);
  const most = roundUp(Math.max(...levels.flatMap((level) => level.availability.buckets.map(perSecond)), 0));
  const labels = bandLabels(bandsOf(levels[0]), x, 0, unit * 0.85);
  const head = labels.rows * unit * 1.1 + unit * 0.4;
  const bottom = head + levels.length * (strip + space) - space;
  const strips = levels.map((level, index) => {
    const top = head + index * (strip + space);
    return availabilityStrip(level, index, { x, y: linear([0, most], [top + strip, top]), top, strip, left, right, unit });
  });
  const axis = axisBelow(x, {
    top: bottom + unit * 1.1,
    bottom: bottom + unit * 1.1,
    ticks: x.ticks(Math.max(4, width / (unit * 6))),
    text: (ns) => String(round(ns / 1e9)),
    title: "seconds since measuring began",
    unit: unit * 0.85,
  });
  return canvas(width, bottom + unit * 3.5, hatching(), labels.draw(), strips, axis);
}

/** Operations of a bucket, as a rate: the last bucket may be shorter. */
function perSecond(bucket) {
  return ((bucket.ok + bucket.refused + bucket.unknown) * 1e9) / (bucket.end_ns - bucket.begin_ns);
}

function availabilityStrip(level, index, { x, y, top, strip, left, right, unit }) {
  const origin = level.window.begin_ns;
  const small = unit * 0.85;
  const bottom = top + strip;
  const columns = level.availability.buckets.map((bucket) => outcomeColumn(bucket, origin, markOf(index), x, y));
  const { ok_percent: ok } = level.operations.all;
  const names = [
    shapeAt(markOf(index), unit * 0.45, top + unit * 0.75, unit * 0.38),
    label(unit * 1.25, top + unit * 1.08, level.name, { class: "strong" }),
    label(unit * 1.25, top + unit * 2.3, `${percent(ok)} answered`, { class: "aside" }),
  ];
  const most = y.domain[1];
  const axis = axisLeft(y, { left, right, ticks: [0, most], text: (rate) => (rate === 0 ? "0" : `${count(rate)}/s`), unit: small });
  return svg(
    "g",
    {},
    drawBands(bandsOf(level), x, top - unit * 0.4, bottom + unit * 1.1),
    axis,
    columns,
    names,
    line(left, bottom, right, bottom, { class: "axis" }),
    gapMark(level, x, bottom, unit),
  );
}

function outcomeColumn(bucket, origin, mark, x, y) {
  const from = x(bucket.begin_ns - origin) + 0.5;
  const width = Math.max(x(bucket.end_ns - origin) - 0.5 - from, 1);
  const scale = 1e9 / (bucket.end_ns - bucket.begin_ns);
  let below = 0;
  const block = (number, attributes) => {
    if (number === 0) return null;
    const [low, high] = [y(below), y(below + number * scale)];
    below += number * scale;
    return svg("rect", { x: round(from), y: round(high), width: round(width), height: round(low - high), ...attributes });
  };
  const about = `${count(bucket.ok)} answered, ${count(bucket.refused)} refused, ${count(bucket.unknown)} unknown`;
  return svg(
    "g",
    {},
    svg("title", {}, about),
    block(bucket.ok, { fill: mark.colour, opacity: 0.3 }),
    bucket.ok > 0 && line(from, y(bucket.ok * scale), from + width, y(bucket.ok * scale), { stroke: mark.colour, "stroke-width": 2 }),
    block(bucket.unknown, { fill: "url(#hatching)", stroke: "var(--doubt)", "stroke-width": 0.75 }),
    block(bucket.refused, { class: "refused" }),
  );
}

/** The longest gap, as a bracket below the strip with its length. */
function gapMark(level, x, bottom, unit) {
  const gap = level.availability.longest_gap;
  const from = x(gap.begin_ns - level.window.begin_ns);
  const to = Math.max(x(gap.end_ns - level.window.begin_ns), from + 2);
  const y = bottom + unit * 0.45;
  const bracket = svg("path", { d: `M${round(from)} ${y - 3}v6M${round(from)} ${y}H${round(to)}M${round(to)} ${y - 3}v6`, class: "gap" });
  const text = `longest gap ${duration(gap.ns)}`;
  const fits = to + unit * 0.4 + text.length * unit * 0.46 < x.range[1];
  const words = label(fits ? to + unit * 0.4 : from - unit * 0.4, y + unit * 0.27, text, {
    "text-anchor": fits ? "start" : "end",
    class: "aside halo",
  });
  return svg("g", {}, bracket, words);
}
