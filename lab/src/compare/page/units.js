// Numbers as people read them, always with their unit.
"use strict";

const UNKNOWN = "–";
const NS = [
  ["s", 1e9],
  ["ms", 1e6],
  ["µs", 1e3],
  ["ns", 1],
];
const GROUPS = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

/** Three digits that mean something, without trailing noise: 1.41, 12.3, 870. What is not zero never looks as if it were. */
function threeDigits(number) {
  const size = Math.abs(number);
  if (size > 0 && size < 0.1) return size < 0.0001 ? "< 0.0001" : number.toPrecision(2);
  if (size >= 1000) return GROUPS.format(number);
  return number.toFixed(size >= 99.95 || Number.isInteger(number) ? 0 : size >= 9.995 ? 1 : 2);
}

/** A length of time given in nanoseconds. */
function duration(ns) {
  if (ns === null) return UNKNOWN;
  if (ns === 0) return "0 ms";
  const [unit, size] = NS.find(([, size]) => Math.abs(ns) >= size * 0.9995) ?? NS.at(-1);
  return `${threeDigits(ns / size)} ${unit}`;
}

/** A moment of a run, given in nanoseconds since the measured window began. */
function moment(ns, step = 1e3) {
  const decimals = Math.max(0, Math.min(6, Math.ceil(-Math.log10(step / 1e9) - 1e-9)));
  return `${(ns / 1e9).toFixed(decimals)} s`;
}

/** A share in per cent. What is not zero, or not all, never looks as if it were. */
function percent(share) {
  if (share === null) return UNKNOWN;
  if (share === 0 || share === 100) return `${share} %`;
  if (share < 0.01) return "< 0.01 %";
  if (share > 99.99) return "> 99.99 %";
  return `${share.toFixed(share < 0.1 || share > 99.9 ? 2 : 1)} %`;
}

function count(number) {
  return number === null ? UNKNOWN : GROUPS.format(number);
}

function decimal(number) {
  return number === null ? UNKNOWN : threeDigits(number);
}

function ratio(number) {
  return number === null ? UNKNOWN : `× ${threeDigits(number)}`;
}

/** "one, two and three". */
function listed(words) {
  return words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`;
}

/** "1 read", "2 reads". */
function plural(number, noun) {
  return `${count(number)} ${noun}${number === 1 ? "" : "s"}`;
}
