// One lane per client; in it, bars from call to answer.
//
//   write  filled        read  hollow        cas  filled, with a notch        outcome unknown  open at the end
//
// Bars too small to be told apart are drawn as one grey crowd, so that 20,000 operations are as quick to draw as 200.
"use strict";

/** A bar narrower than this says nothing by itself. */
const BAR_PX_MIN = 3;
/** Bars nearer than this to each other are a crowd if they are narrow. */
const CROWD_PX = 2;

/** The clients of these operations, in order, each with its operations by call. */
function lanesOf(operations) {
  const lanes = new Map();
  for (const operation of operations) {
    if (!lanes.has(operation.process)) lanes.set(operation.process, []);
    lanes.get(operation.process).push(operation);
  }
  return [...lanes].sort(([a], [b]) => a - b).map(([process, inLane]) => ({ process, label: inLane[0].who, operations: inLane }));
}

/**
 * What of a lane is seen through a view: `bars` to be drawn one by one, and `crowds` as pairs of pixels. What stands out is
 * never part of a crowd. A bar without an answer ends before the client's next operation.
 */
function seenThrough(lane, view, scale, standsOut) {
  const bars = [];
  const crowds = [];
  let open = null;
  const close = () => {
    if (open === null) return;
    if (open.members.length === 1) bars.push(open.members[0]);
    else crowds.push([open.from, open.to, open.members.length]);
    open = null;
  };
  for (const [n, operation] of lane.operations.entries()) {
    const end = operation.end ?? Math.min(lane.operations[n + 1]?.call ?? view.to, view.to);
    if ((operation.end ?? view.to) < view.from || operation.call > view.to) continue;
    const bar = { operation, from: scale(operation.call), to: Math.max(scale(end), scale(operation.call) + BAR_PX_MIN) };
    if (operation.end === null || standsOut(operation) || bar.to - bar.from > BAR_PX_MIN * 2) {
      bars.push(bar);
      continue;
    }
    if (open !== null && bar.from - open.to >= CROWD_PX) close();
    open ??= { from: bar.from, to: bar.to, members: [] };
    open.to = Math.max(open.to, bar.to);
    open.members.push(bar);
  }
  close();
  return { bars: bars.sort((a, b) => a.from - b.from), crowds };
}

/** The outline of a bar. Without an answer it has no end; a cas has a notch at its beginning. */
function outline({ kind, end }, from, to, top, height) {
  const bottom = top + height;
  const notch = kind === "cas" ? Math.min(height * 0.3, (to - from) / 2) : 0;
  const begin = `H${round(from)}L${round(from + notch)} ${round(top + height / 2)}L${round(from)} ${round(bottom)}`;
  return `M${round(to)} ${round(top)}${begin}H${round(to)}${end === null ? "" : "Z"}`;
}

/** One operation: a link to itself. `room` is the free space behind it, in pixels. */
function barElement({ operation, from, to }, { top, height, role, chosen, room, left, unit }) {
  const shape = svg("path", { d: outline(operation, from, to, top, height), class: "bar" });
  const text = barText(operation, { from, to, room, left, unit, always: role !== "context" || chosen });
  const words =
    text &&
    label(text.x, top + height / 2 + unit * 0.3, text.text, { "text-anchor": text.anchor, class: text.inside ? "inside" : "beside halo" });
  const classes = ["op", operation.kind, operation.outcome, role, chosen && "chosen"].filter(Boolean).join(" ");
  const attributes = {
    href: `#${operation.anchor}`,
    class: classes,
    tabindex: chosen ? 0 : -1,
    "aria-label": sentenceOf(operation),
    "data-at": operation.at,
  };
  return svg("a", attributes, svg("title", {}, sentenceOf(operation)), shape, words);
}

/** The longest words that fit into the bar, or behind it; before it if they must be seen. */
function barText(operation, { from, to, room, left, unit, always }) {
  const width = (text) => text.length * unit * 0.56 + unit * 0.8;
  const texts = [deed(operation), brief(operation)].filter((text) => text !== "");
  const begin = Math.max(from, left) + (operation.kind === "cas" ? unit * 0.4 : 0);
  for (const text of texts) {
    if (width(text) < to - begin) return { text, x: begin + unit * 0.45, inside: true };
    if (width(text) < room) return { text, x: to + unit * 0.4, inside: false };
  }
  if (!always || texts.length === 0) return null;
  const before = texts.find((text) => width(text) < from - left);
  return before
    ? { text: before, x: from - unit * 0.4, anchor: "end", inside: false }
    : { text: texts.at(-1), x: to + unit * 0.4, inside: false };
}
