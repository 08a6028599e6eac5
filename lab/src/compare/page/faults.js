// Bands for the faults, behind whatever is drawn over time.
"use strict";

/** The faults of a level that were made, in time since its window began. One that never ended lasts to the window's end. */
function bandsOf(level) {
  const { begin_ns: origin, end_ns: last } = level.window;
  const made = level.faults.filter((fault) => fault.begin_ns !== null);
  return made.map((fault) => ({
    kind: fault.kind,
    target: fault.target,
    text: `${fault.kind} ${fault.target}`,
    effect: fault.took_effect ? fault.effect : "took no effect",
    from: fault.begin_ns - origin,
    to: (fault.end_ns ?? last) - origin,
  }));
}

/** The bands between two heights. */
function drawBands(bands, x, top, bottom) {
  const [left, right] = x.range;
  return bands.map((band) => {
    const from = Math.max(x(band.from), left);
    const to = Math.min(x(band.to), right);
    if (to <= from) return null;
    const about = svg("title", {}, band.effect === null ? band.text : `${band.text}: ${band.effect}`);
    return svg(
      "g",
      {},
      svg("rect", { x: round(from), y: top, width: round(to - from), height: bottom - top, class: "band" }, about),
      line(from, top, from, bottom, { class: "band-edge" }),
      line(to, top, to, bottom, { class: "band-edge" }),
    );
  });
}

/** Their names, each where its band begins, on as many rows as keep them apart; `rows` says how many that were. */
function bandLabels(bands, x, top, unit) {
  const [left, right] = x.range;
  const rows = [];
  const texts = bands
    .filter((band) => x(band.to) > left && x(band.from) < right)
    .map((band) => {
      const width = band.text.length * unit * 0.55;
      const from = Math.max(Math.min(Math.max(x(band.from), left), right - width), left);
      let row = rows.findIndex((end) => end + unit * 0.6 < from);
      if (row < 0) row = rows.length;
      rows[row] = from + width;
      return [from, row, band.text];
    });
  return {
    rows: rows.length,
    draw: () => texts.map(([from, row, text]) => label(from, top + (row + 0.85) * unit * 1.25, text, { class: "band-label" })),
  };
}
