// What stands around the picture: the reason in a sentence, the looked-at operation, and the same story as a table.
"use strict";

function wordsOfStory(story, position, total) {
  const what =
    story.breaks === "promise"
      ? html("span", { class: "verdict broken" }, "breaks the level's own promise")
      : html("span", { class: "verdict datum" }, "not linearizable, which this level does not promise");
  const more =
    story.left_out > 0
      ? ` ${plural(story.left_out, "operation")} on this key at this time ${story.left_out === 1 ? "is" : "are"} not drawn.`
      : "";
  return [
    html("p", { class: "reason" }, story.words),
    html(
      "p",
      { class: "note" },
      what,
      " ",
      html("code", {}, story.rule),
      ` on key `,
      html("code", {}, story.key),
      `, ${position + 1} of ${total}.${more}`,
    ),
  ];
}

/** All that is known of one operation. */
function detailsOf(operation, role) {
  const facts = [
    ["Who", operation.who],
    ["Did", deed(operation)],
    ["Key", operation.key],
    ["Called", moment(operation.call)],
    [
      "Returned",
      operation.end === null
        ? "never: it may have been applied, or may be yet"
        : `${moment(operation.end)}, after ${duration(operation.end - operation.call)}`,
    ],
    ["Outcome", { ok: "ok", fail: "failed, certainly not applied", unknown: "unknown" }[operation.outcome]],
    ["Level", operation.level ?? UNKNOWN],
    ["Coordinator", operation.node ?? UNKNOWN],
    [
      "Part",
      { stale: "the read that shows it", missed: "the write that was missed", proof: "proves it", context: "happened at the same time" }[
        role ?? "context"
      ],
    ],
  ];
  const link = html("a", { href: `#${operation.anchor}` }, `#${operation.anchor}`);
  return html(
    "dl",
    { class: "details" },
    facts.map(([name, text]) => html("div", {}, html("dt", {}, name), html("dd", {}, text))),
    html("div", {}, html("dt", {}, "Link"), html("dd", {}, link)),
  );
}

/** The operations of a counter-example in order, for reading aloud and for those who like tables. Made when it is opened. */
function tableOfStory(story, operations) {
  const details = html("details", { class: "in-words" }, html("summary", {}, "The same as a table"));
  details.addEventListener("toggle", () => details.append(storyRows(story, operations)), { once: true });
  return details;
}

function storyRows(story, operations) {
  const rows = operations
    .filter((operation) => story.roles.has(operation.at))
    .map((operation) => {
      const arrows = story.arrows
        .filter((arrow) => arrow.from === operation.at)
        .map((arrow) => `${ARROW_WORDS[arrow.kind] ?? arrow.kind} #${arrow.to}`);
      const took = operation.end === null ? "unknown" : duration(operation.end - operation.call);
      const cells = [operation.who, deed(operation), moment(operation.call), took, operation.node ?? UNKNOWN, arrows.join(", ")];
      const link = html("a", { href: `#${operation.anchor}` }, `#${operation.at}`);
      return html(
        "tr",
        { class: story.roles.get(operation.at) },
        html("th", { scope: "row" }, link),
        cells.map((text) => html("td", {}, text)),
      );
    });
  const heads = ["Operation", "Client", "Did", "Called", "Took", "Coordinator", "Relation"].map((name) =>
    html("th", { scope: "col" }, name),
  );
  const caption = html("caption", { class: "unseen" }, story.words);
  return html("div", { class: "scroll" }, html("table", {}, caption, html("thead", {}, html("tr", {}, heads)), html("tbody", {}, rows)));
}
