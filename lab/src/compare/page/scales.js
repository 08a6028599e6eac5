// From values to pixels, and where the ticks stand.
"use strict";

/** A scale is a function from value to pixel, with `domain`, `range`, `ticks` and, if it is linear, `invert`. */
function linear(domain, range) {
  const [d0, d1] = domain;
  const [r0, r1] = range;
  const span = d1 - d0 || 1;
  const scale = (value) => r0 + ((value - d0) / span) * (r1 - r0);
  scale.invert = (pixel) => d0 + ((pixel - r0) / (r1 - r0)) * span;
  scale.ticks = (count) => linearTicks(d0, d1, count);
  return Object.assign(scale, { domain, range });
}

/** Logarithmic; values below the domain are drawn at its beginning. */
function logarithmic(domain, range) {
  const [low, high] = domain.map(Math.log10);
  const scale = (value) => {
    const at = (Math.log10(Math.max(value, domain[0])) - low) / (high - low || 1);
    return range[0] + Math.min(at, 1) * (range[1] - range[0]);
  };
  scale.ticks = () => decades(domain);
  scale.steps = () =>
    decades(domain)
      .flatMap((decade) => [2, 3, 4, 5, 6, 7, 8, 9].map((n) => n * decade))
      .filter((v) => v < domain[1]);
  return Object.assign(scale, { domain, range });
}

/** Round steps of 1, 2 or 5, about `count` of them. */
function linearTicks(from, to, count) {
  if (!(to > from)) return [from];
  const rough = (to - from) / Math.max(count, 1);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough * 0.999);
  const ticks = [];
  for (let n = Math.ceil(from / step - 1e-9); n * step <= to + step * 1e-9; n += 1) ticks.push(n * step);
  return ticks;
}

/** Powers of ten within a domain. */
function decades([from, to]) {
  const ticks = [];
  for (let power = Math.ceil(Math.log10(from) - 1e-9); power <= Math.log10(to) + 1e-9; power += 1) ticks.push(10 ** power);
  return ticks;
}

/** The domain that holds all values above 0, from and to 1, 2 or 5 times a power of ten; `fallback` if there is none. */
function logarithmicAround(values, fallback) {
  let low = Infinity;
  let high = 0;
  for (const value of values) {
    if (!(value > 0)) continue;
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  if (high === 0) return fallback;
  const round = [1, 2, 5, 10];
  const power = (value) => 10 ** Math.floor(Math.log10(value) + 1e-9);
  const from = round.findLast((n) => n * power(low) <= low * 1.001) * power(low);
  const to = round.find((n) => n * power(high) >= high * 0.999) * power(high);
  return [from, Math.max(to, from * 10)];
}

/** The end of an axis that begins at 0: a round number, not below the value. */
function roundUp(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10].map((n) => n * power).find((n) => n >= value * 0.999);
}
