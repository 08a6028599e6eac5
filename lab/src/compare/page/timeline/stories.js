// What the timeline tells: the counter-examples of one level, put on the clock of its window.
"use strict";

/** The counter-examples of a level with their operations, each operation once, by call. */
function storiesOf(level) {
  const origin = level.window.begin_ns;
  const operations = new Map();
  const stories = level.counter_examples.map((example) => {
    const labels = new Map(example.lanes.map((lane) => [lane.process, lane.label]));
    for (const operation of example.operations) {
      operations.set(operation.at, {
        ...operation,
        anchor: `${level.slug}/${operation.at}`,
        who: labels.get(operation.process) ?? `process ${operation.process}`,
        call: operation.begin_ns - origin,
        end: operation.end_ns === null ? null : operation.end_ns - origin,
      });
    }
    const roles = rolesIn(example);
    const involved = new Set(
      example.operations.filter((operation) => roles.get(operation.at) !== "context").map((operation) => operation.process),
    );
    const arrows = example.arrows.filter((arrow) => operations.has(arrow.from) && operations.has(arrow.to));
    return {
      ...example,
      from: example.begin_ns - origin,
      to: example.end_ns - origin,
      first: example.first_at_ns - origin,
      roles,
      involved,
      arrows,
    };
  });
  for (const arrow of stories.flatMap((story) => story.arrows)) {
    const [later, earlier] = [operations.get(arrow.from), operations.get(arrow.to)];
    arrow.proves = later.role === "proof" && earlier.role === "proof";
    arrow.since = earlier.end === null || later.call < earlier.end ? null : later.call - earlier.end;
  }
  return { stories, operations: [...operations.values()].sort((a, b) => a.call - b.call || a.at - b.at) };
}

/** What an operation is in a counter-example: `stale`, `missed`, another `proof`, or `context`. */
function rolesIn(example) {
  const roles = new Map(example.operations.map((operation) => [operation.at, operation.role]));
  for (const arrow of example.arrows) {
    if (arrow.kind !== "missed" || roles.get(arrow.from) !== "proof") continue;
    roles.set(arrow.from, "stale");
    roles.set(arrow.to, "missed");
  }
  return roles;
}

/** The earliest of some stories. */
function firstStory(stories) {
  return stories.reduce((first, story) => (first === null || story.first < first.first ? story : first), null);
}
