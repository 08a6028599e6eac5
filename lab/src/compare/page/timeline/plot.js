// The picture of the timeline: time axis, fault bands, lanes, bars, arrows.
"use strict";

/** Beyond so many lanes they are drawn thinner. */
const LANES_TALL_MAX = 24;

/**
 * Draws what is seen of `lanes` through `view`. `story` is the counter-example that is told, `chosen` the position of the
 * operation that is looked at; both may be null.
 */
function drawTimeline({ lanes, view, bands, story, chosen, width, unit }) {
  const small = unit * 0.85;
  const left = unit * 6.4;
  const right = width - unit * 0.5;
  const x = linear([view.from, view.to], [left, right]);
  const labels = bandLabels(bands, x, 0, small);
  const head = Math.max(labels.rows, 1) * small * 1.25 + unit * 1.9;
  const lane = unit * (lanes.length > LANES_TALL_MAX ? 1.15 : 2.7);
  const bottom = head + lanes.length * lane + unit * 0.4;
  const places = new Map();
  const rows = lanes.map((one, n) => drawLane(one, { view, x, top: head + n * lane, lane, left, right, story, chosen, unit, places }));
  const arrows = (story?.arrows ?? [])
    .map((arrow) => {
      const [later, earlier] = [places.get(arrow.from), places.get(arrow.to)];
      return later && earlier ? { arrow, later, earlier } : null;
    })
    .filter(Boolean)
    .sort((a, b) => (a.arrow.kind === "missed") - (b.arrow.kind === "missed"));
  const clip = svg("clipPath", { id: "lanes" }, svg("rect", { x: left, y: 0, width: right - left, height: bottom + unit }));
  return canvas(
    width,
    bottom + unit * 0.2,
    arrowHeads(),
    fading(),
    svg("defs", {}, clip),
    drawBands(bands, x, head - unit * 1.9, bottom),
    labels.draw(),
    timeAxis(x, view, head - unit * 0.35, bottom, small),
    rows.map((row) => row.name),
    svg(
      "g",
      { "clip-path": "url(#lanes)" },
      rows.map((row) => row.picture),
      arrows.map(({ arrow, later, earlier }) => drawArrow(arrow, later, earlier, { right, unit })),
    ),
  );
}

/** What has no end fades away. */
function fading() {
  return svg(
    "defs",
    {},
    svg("linearGradient", { id: "fading" }, svg("stop", { offset: "0", class: "begin" }), svg("stop", { offset: "1", class: "end" })),
  );
}

/** Time above the lanes, with as many decimals as the distance of the ticks asks for. */
function timeAxis(x, view, top, bottom, unit) {
  const ticks = x.ticks(Math.max((x.range[1] - x.range[0]) / (unit * 9), 2));
  const step = ticks.length > 1 ? ticks[1] - ticks[0] : view.span;
  return svg(
    "g",
    {},
    ticks.map((tick) => [
      line(x(tick), top, x(tick), bottom, { class: "grid" }),
      label(x(tick), top - unit * 0.35, moment(tick, step), {
        "text-anchor": x(tick) - x.range[0] < unit * 2.5 ? "start" : x.range[1] - x(tick) < unit * 2.5 ? "end" : "middle",
        class: "tick",
      }),
    ]),
    line(x.range[0], top, x.range[1], top, { class: "axis" }),
  );
}

function drawLane(lane, { view, x, top, lane: height, left, right, story, chosen, unit, places }) {
  const tall = height > unit * 2;
  const bar = tall ? unit * 1.35 : unit * 0.8;
  const shelf = { top: top + (height - bar) / 2, height: bar, left, right, unit: tall ? unit * 0.85 : unit * 0.7 };
  const roleOf = (operation) => story?.roles.get(operation.at) ?? "context";
  const standsOut = (operation) => roleOf(operation) !== "context" || operation.at === chosen;
  const { bars, crowds } = seenThrough(lane, view, x, standsOut);
  const front = bars.filter((one) => standsOut(one.operation));
  const drawn = bars.map((one, n) => {
    const free = inTheWay(one, front, unit) ? one.to : (bars[n + 1]?.from ?? right);
    places.set(one.operation.at, { from: one.from, to: one.to, top: shelf.top, bottom: shelf.top + bar });
    return {
      isFront: front.includes(one),
      parts: drawBar(one, shelf, { role: roleOf(one.operation), chosen: one.operation.at === chosen, free }),
    };
  });
  const inOrder = drawn.sort((a, b) => a.isFront - b.isFront).map(({ parts }) => parts);
  const crowd = crowds
    .map(([from, to]) => `M${round(from)} ${round(shelf.top)}H${round(to)}V${round(shelf.top + bar)}H${round(from)}Z`)
    .join("");
  const name = label(left - unit * 0.6, top + height / 2 + unit * 0.28, lane.label, {
    "text-anchor": "end",
    class: story?.involved.has(lane.process) ? "strong" : "aside",
  });
  const rule = line(left, top + height / 2, right, top + height / 2, { class: "lane" });
  return { picture: svg("g", {}, rule, crowd !== "" && svg("path", { d: crowd, class: "crowd" }), inOrder), name };
}

/** A bar, cut to what is in sight; behind one without an answer a dotted line goes on, for it may yet be applied. */
function drawBar({ operation, from, to }, { top, height, left, right, unit }, { role, chosen, free }) {
  const seen = { operation, from: Math.max(from, left - unit * 2), to: Math.min(to, right) };
  const isOpen = operation.end === null;
  if (isOpen) seen.to = Math.min(seen.to, seen.from + unit * 10);
  const tail = isOpen && line(seen.to, top + height - 1, right, top + height - 1, { class: "tail" });
  return [tail, barElement(seen, { top, height, role, chosen, room: free - seen.to, left, unit })];
}

/** Whether the words of a bar would cover those of one near it in the foreground. */
function inTheWay(bar, front, unit) {
  return !front.includes(bar) && front.some((other) => other.from <= bar.from + 1 && bar.from - other.to < unit * 5);
}
