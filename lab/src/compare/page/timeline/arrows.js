// Arrows from an operation to the one whose value it saw, missed or replaced. They run from the beginning of the one
// to the end of the other, for that is what real time compares.
"use strict";

const ARROW_WORDS = { missed: "should have seen", saw: "saw the value of", replaced: "replaced" };

function arrowHeads() {
  const head = (kind) =>
    svg(
      "marker",
      { id: `head-${kind}`, viewBox: "0 0 10 10", refX: 8.5, refY: 5, markerWidth: 7, markerHeight: 7, orient: "auto-start-reverse" },
      svg("path", { d: "M1 1L9 5L1 9Z", class: `head ${kind}` }),
    );
  return svg("defs", {}, Object.keys(ARROW_WORDS).map(head));
}

/** One arrow between two places `{ from, to, top, bottom }` of bars, out of the way of what is in them; `right` is where the lanes end. */
function drawArrow(arrow, later, earlier, { right, unit }) {
  const isBelow = earlier.top > later.top;
  const isSameLane = earlier.top === later.top;
  const start = [Math.max(later.from, 0) + unit * 0.25, isBelow ? later.bottom : later.top];
  // An operation that was still going on is met where it was then, not at its end.
  const met = Math.min(earlier.to - Math.min(unit * 0.35, (earlier.to - earlier.from) / 2), Math.max(start[0], earlier.from));
  const end = [met, isBelow || isSameLane ? earlier.top - 1 : earlier.bottom + 1];
  const bend = isSameLane ? start[1] - unit * 1.3 : (start[1] + end[1]) / 2;
  const [x1, y1, x2, y2, y] = [...start, ...end, bend].map(round);
  const curve = svg("path", {
    d: `M${x1} ${y1}C${x1} ${y} ${x2} ${y} ${x2} ${y2}`,
    class: `arrow ${arrow.kind}${arrow.proves ? "" : " faint"}`,
    "marker-end": `url(#head-${arrow.kind})`,
  });
  return svg("g", {}, curve, arrow.kind === "missed" && missedLabel(arrow, start, isBelow, right, unit));
}

/** What the arrows mean. */
function arrowKey() {
  const sample = (kind) =>
    svg(
      "svg",
      { width: 34, height: 12, class: "chart", "aria-hidden": "true" },
      svg("path", { d: "M1 6H27", class: `arrow ${kind}`, "marker-end": `url(#head-${kind})` }),
    );
  return html(
    "ul",
    { class: "key" },
    Object.entries(ARROW_WORDS).map(([kind, words]) => html("li", {}, sample(kind), words)),
  );
}

/** How long before the read the write it missed was acknowledged: between the lanes, where the arrow begins. */
function missedLabel({ since }, start, isBelow, right, unit) {
  const text = since === null ? "missed" : `missed: acknowledged ${duration(since)} before`;
  const fits = start[0] + text.length * unit * 0.5 < right;
  const x = start[0] + (fits ? 0.5 : -0.5) * unit;
  const attributes = { "text-anchor": fits ? "start" : "end", class: "missed-words halo" };
  return label(x, start[1] + (isBelow ? 0.95 : -0.4) * unit, text, attributes);
}
