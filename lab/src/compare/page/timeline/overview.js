// The whole run in one strip: where the faults were, where there is something to see, and which part is shown below.
"use strict";

/** A strip that moves the view when it is clicked or dragged. `moved()` is called after that. */
function overviewStrip({ view, bands, moments, width, unit, left, moved }) {
  const height = unit * 2;
  const x = linear(view.whole, [left, width - unit * 0.5]);
  const ticks = moments.map(({ at, chosen }) => {
    const place = round(x(at));
    return svg("path", {
      d: `M${place} ${round(height)}l${-unit * 0.32} ${-unit * 0.62}h${unit * 0.64}Z`,
      class: chosen ? "moment chosen" : "moment",
    });
  });
  const frame = svg("rect", { y: 1, height: round(height - unit * 0.75), class: "frame", rx: 3 });
  const shades = [svg("rect", { y: 0, height, class: "shade" }), svg("rect", { y: 0, height, class: "shade" })];
  const follow = () => {
    const [from, to] = [x(view.from), Math.max(x(view.to), x(view.from) + 3)];
    fill(frame, { x: round(from), width: round(to - from) }, []);
    fill(shades[0], { x: left, width: Math.max(round(from - left), 0) }, []);
    fill(shades[1], { x: round(to), width: Math.max(round(x.range[1] - to), 0) }, []);
  };
  const strip = svg(
    "svg",
    { width, height, class: "chart overview", "aria-hidden": "true" },
    svg("rect", { x: left, width: x.range[1] - left, height, class: "ground" }),
    drawBands(bands, x, 0, height),
    shades,
    frame,
    ticks,
    label(left - unit * 0.6, height * 0.68, "whole run", { "text-anchor": "end", class: "tick" }),
  );
  const go = (event) => {
    const at = x.invert(event.clientX - strip.getBoundingClientRect().left);
    view.show(at - view.span / 2, at + view.span / 2);
    moved();
  };
  strip.addEventListener("pointerdown", (event) => {
    strip.setPointerCapture(event.pointerId);
    go(event);
  });
  strip.addEventListener("pointermove", (event) => {
    if (strip.hasPointerCapture(event.pointerId)) go(event);
  });
  follow();
  return { strip, follow };
}
