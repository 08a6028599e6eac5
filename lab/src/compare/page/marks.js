// How a level looks in every chart: a colour, a dash and a shape. Each of the three is enough to tell levels apart.
"use strict";

const DASHES = ["none", "7 3", "2 3", "none", "9 3 2 3", "5 2", "1 2", "10 4"];

/** Shapes around 0, 0 with a radius of 1. */
const SHAPES = [
  "M0-1A1 1 0 1 1 0 1A1 1 0 1 1 0-1Z",
  "M-.88-.88H.88V.88H-.88Z",
  "M0-1.12L1.08.8H-1.08Z",
  "M0-1.25L1.25 0L0 1.25L-1.25 0Z",
  "M0 1.12L1.08-.8H-1.08Z",
  "M-.4-1.1H.4V-.4H1.1V.4H.4V1.1H-.4V.4H-1.1V-.4H-.4Z",
  "M-1-.6L-.5-1.1H.5L1-.6V.6L.5 1.1H-.5L-1 .6Z",
  "M-1.1-1L0-.2L1.1-1V.2L0 1.1L-1.1 .2Z",
];

/** The looks of the level at this place in the report. */
function markOf(index) {
  const n = index % SHAPES.length;
  return { colour: `var(--series-${n})`, dash: DASHES[n], shape: SHAPES[n] };
}

/** A level's shape at a place in a chart. */
function shapeAt(mark, x, y, radius, attributes) {
  const transform = `translate(${round(x)} ${round(y)}) scale(${radius})`;
  return svg("path", { d: mark.shape, transform, fill: mark.colour, class: "shape", ...attributes });
}

/** A level's shape and name, in text. */
function levelName(name, index) {
  const picture = svg("svg", { viewBox: "-1.3 -1.3 2.6 2.6", "aria-hidden": "true" }, shapeAt(markOf(index), 0, 0, 1));
  return html("span", { class: "level" }, picture, name);
}
