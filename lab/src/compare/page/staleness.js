// P(fresh | t): how likely a read saw the newest acknowledged write, by the time since that acknowledgement. One panel per
// level, all on the same axes, the prediction beside what was measured.
"use strict";

/** Where a step without an end, or one that begins at 0, is drawn: as wide as a step of half a decade. */
const STEP = Math.sqrt(10);
/** Fewer reads than this say little, and are drawn paler. */
const READS_FEW = 20;

function staleness(report) {
  const levels = report.levels;
  const steps = levels.flatMap((level) => level.freshness.measured);
  if (steps.length === 0) return html("p", { class: "empty" }, "No read followed an acknowledged write.");
  const times = steps.flatMap((step) => [step.from_ns, step.within_ns ?? step.from_ns * STEP]);
  const domain = logarithmicAround(times, [1e5, 1e9]);
  const floor = Math.floor(Math.min(...steps.map((step) => step.percent), ...predictedWithin(levels, domain), 90) / 10) * 10;
  const panels = levels.map((level, index) => {
    const { count: stale, judged } = level.staleness.reads;
    const words = `${level.name}: ${count(stale)} of ${count(judged)} reads were stale.`;
    const picture = figure(`Share of fresh reads by time since the acknowledgement. ${words}`, (width, unit) =>
      freshnessChart(level, index, domain, floor, width, unit),
    );
    return html("div", { class: "panel" }, html("h3", {}, levelName(level.name, index)), html("p", {}, freshnessWords(level)), picture);
  });
  const key = html(
    "ul",
    { class: "key" },
    html(
      "li",
      {},
      svg(
        "svg",
        { width: 34, height: 14, class: "chart", "aria-hidden": "true" },
        line(17, 1, 17, 13, { class: "whisker", stroke: "currentColor" }),
        svg("circle", { cx: 17, cy: 7, r: 4, fill: "currentColor" }),
      ),
      "measured, with 95 % confidence; the area of a mark grows with its reads",
    ),
    html(
      "li",
      {},
      svg("svg", { width: 34, height: 14, class: "chart", "aria-hidden": "true" }, line(0, 7, 34, 7, { class: "predicted" })),
      "predicted from the one-way delays between the nodes, no faults (PBS)",
    ),
    floor > 0 && html("li", {}, html("strong", {}, `The axis begins at ${floor} %.`)),
  );
  return html("div", {}, key, html("div", { class: "panels many" }, panels));
}

function predictedWithin(levels, [from]) {
  return levels.flatMap(({ freshness: { predicted } }) => (predicted === null ? [] : [predictedAt(predicted.points, from)]));
}

/** The prediction at a moment: its points are joined by straight lines. */
function predictedAt(points, t) {
  const after = points.findIndex((point) => point.t_ns >= t);
  if (after < 0) return 100;
  if (after === 0) return points[0].percent;
  const [a, b] = [points[after - 1], points[after]];
  return a.percent + ((t - a.t_ns) / (b.t_ns - a.t_ns || 1)) * (b.percent - a.percent);
}

function freshnessWords({ staleness: { reads }, freshness: { predicted } }) {
  if (reads.judged === 0) return "no read was judged";
  const stale =
    reads.count === 0 ? `none of ${plural(reads.judged, "read")} stale` : `${count(reads.count)} of ${plural(reads.judged, "read")} stale`;
  return predicted === null ? `${stale}, no prediction` : stale;
}

function freshnessChart(level, index, domain, floor, width, unit) {
  const small = unit * 0.85;
  const [left, right, top, bottom] = [unit * 3.1, width - unit * 0.9, unit * 0.7, unit * 11];
  const x = logarithmic(domain, [left, right]);
  const y = linear([floor, 100], [bottom, top]);
  const axes = [
    axisBelow(x, { top, bottom, ticks: x.ticks(), text: duration, title: "since the last acknowledgement", unit: small }),
    axisLeft(y, { left, right, ticks: y.ticks(5), text: (share) => `${share} %`, unit: small }),
  ];
  const { measured, predicted } = level.freshness;
  const most = Math.max(...measured.map((step) => step.reads), 1);
  const points = measured.map((step) =>
    measuredPoint(step, domain, x, y, (Math.sqrt(step.reads / most) * 0.3 + 0.16) * unit, markOf(index)),
  );
  const joined = svg("path", { d: path(points.map(({ place }) => place)), class: "series", stroke: markOf(index).colour, opacity: 0.5 });
  return canvas(
    width,
    bottom + unit * 2.5,
    axes,
    predicted && predictedLine(predicted.points, x, y, domain, floor),
    joined,
    points.map(({ mark }) => mark),
  );
}

function predictedLine(points, x, y, domain, floor) {
  const inside = points.filter((point) => point.t_ns > domain[0] && point.t_ns < domain[1]).map((point) => [point.t_ns, point.percent]);
  const all = [[domain[0], predictedAt(points, domain[0])], ...inside, [domain[1], predictedAt(points, domain[1])]];
  return svg("path", { d: path(all.map(([t, share]) => [x(t), y(Math.max(share, floor))])), class: "predicted" });
}

function measuredPoint(step, domain, x, y, radius, mark) {
  const from = Math.max(step.from_ns, domain[0]);
  const to = step.within_ns ?? domain[1];
  const at = x(Math.sqrt(from * to));
  const bounds = `${duration(step.from_ns)} to ${step.within_ns === null ? "any time" : duration(step.within_ns)}`;
  const predicted = step.predicted_percent === null ? "" : `, predicted ${percent(step.predicted_percent)}`;
  const about = `${bounds}: ${count(step.fresh)} of ${plural(step.reads, "read")} fresh, ${percent(step.percent)}${predicted}`;
  return {
    place: [at, y(step.percent)],
    mark: svg(
      "g",
      {},
      svg("title", {}, about),
      line(at, y(Math.max(step.low_percent, y.domain[0])), at, y(step.high_percent), {
        class: step.reads < READS_FEW ? "whisker weak" : "whisker",
        stroke: mark.colour,
      }),
      shapeAt(mark, at, y(step.percent), radius),
    ),
  };
}
