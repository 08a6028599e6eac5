// What all charts share: a figure that is drawn again when its width changes, axes.
"use strict";

/** One rem in pixels: charts grow with the text. */
function rem() {
  return parseFloat(getComputedStyle(document.documentElement).fontSize);
}

/**
 * A figure whose picture `draw(width, rem)` returns, drawn again whenever its width changes. `summary` is what is read aloud
 * in place of the picture.
 */
function figure(summary, draw) {
  const host = html("div", { class: "picture", role: "img", "aria-label": summary });
  redrawn(host, (width) => host.replaceChildren(draw(width, rem())));
  return host;
}

/** What draws the pictures that are not drawn yet. */
const undrawn = [];

/** Draws all pictures, now that they are in the page: what is below them stays where it is from then on. */
function drawPictures() {
  for (const look of undrawn.splice(0)) look();
}

/** Calls `draw(width)` once the element has a width, and whenever that changes. */
function redrawn(host, draw) {
  let drawn = 0;
  const look = () => {
    const width = Math.floor(host.clientWidth);
    if (width === drawn || width < 40) return;
    drawn = width;
    draw(width);
  };
  undrawn.push(look);
  // In the next frame: an observer that changes what it observes is told so by an error.
  new ResizeObserver(() => requestAnimationFrame(look)).observe(host);
}

/** The outer element of a chart. */
function canvas(width, height, ...children) {
  return svg("svg", { width, height, viewBox: `0 0 ${round(width)} ${round(height)}`, class: "chart" }, ...children);
}

/** The axis of an abscissa: rules from `top` to `bottom`, numbers below where there is room for them. */
function axisBelow(scale, { top, bottom, ticks, text, title, unit }) {
  const [left, right] = scale.range;
  let free = -Infinity;
  const numbers = ticks.map((tick) => {
    const x = scale(tick);
    const number = text(tick);
    const half = number.length * unit * 0.3;
    const centre = Math.min(Math.max(x, left), right + unit - half);
    const rule = line(x, top, x, bottom, { class: "grid" });
    if (centre - half < free) return rule;
    free = centre + half + unit * 0.6;
    return [rule, label(centre, bottom + unit * 1.15, number, { "text-anchor": "middle", class: "tick" })];
  });
  const name = title && label((left + right) / 2, bottom + unit * 2.35, title, { "text-anchor": "middle", class: "title" });
  return svg("g", {}, numbers, line(left, bottom, right, bottom, { class: "axis" }), name);
}

/** The axis of an ordinate: rules from `left` to `right`, numbers on the left. */
function axisLeft(scale, { left, right, ticks, text, unit }) {
  return svg(
    "g",
    {},
    ticks.map((tick) => {
      const y = scale(tick);
      const number = label(left - unit * 0.5, y + unit * 0.28, text(tick), { "text-anchor": "end", class: "tick" });
      return [line(left, y, right, y, { class: "grid" }), number];
    }),
  );
}
