// Operations in words: what stands in a bar, what is read aloud, what the panel below says.
"use strict";

const TEXT_CHARS_MAX = 24;

function shortened(text) {
  return text.length > TEXT_CHARS_MAX ? `${text.slice(0, TEXT_CHARS_MAX - 1)}…` : text;
}

/** A list of values as a read shows it: absent, one, or siblings. */
function valueText(values) {
  if (values === null) return "";
  return values.length === 0 ? "absent" : values.map(shortened).join(" + ");
}

/** What an operation did, without who and when. */
function deed({ kind, value, expect, observed, outcome }) {
  const failed = outcome === "fail" ? "failed " : "";
  if (kind !== "cas") return `${failed}${kind} ${valueText(value)}`.trim();
  const found = outcome === "fail" && observed !== null ? `, found ${valueText(observed)}` : "";
  return `${failed}cas ${valueText(expect)} → ${valueText(value)}${found}`;
}

/** The least that says what an operation did. */
function brief({ kind, value }) {
  return { delete: "∅", cas: `→ ${valueText(value)}` }[kind] ?? valueText(value);
}

/** When an operation was, from its call to its answer. */
function when({ call, end }) {
  return end === null ? `from ${moment(call)} on, outcome unknown` : `${moment(call)} to ${moment(end)}`;
}

/** Who did what to which key, and when. */
function sentenceOf(operation) {
  const fate = operation.outcome === "fail" ? ", certainly not applied" : "";
  return `process ${operation.process}: ${deed(operation)}, key ${operation.key}, ${when(operation)}${fate}`;
}
