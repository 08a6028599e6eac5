// The timeline of counter-examples: one level at a time, its clients' operations on a real time axis.
//
// State is what is looked at (level, key, counter-example, operation, view); whatever changes it calls `show` or `redraw`.
// A link names an operation by `#SLUG/at` and a counter-example by its id; following one changes the state, and nothing else
// does anything that a link cannot.
"use strict";

/** One step of the zoom. */
const ZOOM = 1.6;

class Timeline {
  constructor(levels) {
    this.levels = levels.map((level, index) => ({ level, index, ...storiesOf(level) }));
    this.host = html("div", {
      class: "timeline",
      tabindex: 0,
      role: "group",
      "aria-label":
        "Timeline. Plus and minus zoom, shift with an arrow key moves, arrow keys go from operation to operation, 0 shows the whole run, V the first violation.",
      onkeydown: (event) => this.key(event),
    });
    this.words = html("div", { "aria-live": "polite" });
    this.below = html("div", {});
    this.buildTools();
    this.element = html("div", {}, this.tools, this.words, this.host, this.below);
    listenToPointer(this.host, this);
    redrawn(this.host, () => this.draw());
    const first =
      this.levels.find((one) => one.stories.some((story) => story.breaks === "promise")) ??
      this.levels.find((one) => one.stories.length > 0) ??
      this.levels[0];
    this.goToLevel(first.index);
    window.addEventListener("hashchange", () => this.follow());
  }

  buildTools() {
    const button = (id, text, words, onclick) => html("button", { type: "button", id, "aria-label": words, title: words, onclick }, text);
    this.levelChoice = html("select", { id: "timeline-level", onchange: () => this.goToLevel(Number(this.levelChoice.value)) });
    for (const { level, index, stories } of this.levels) {
      this.levelChoice.append(html("option", { value: index }, `${level.name} (${stories.length})`));
    }
    this.keyChoice = html("select", { id: "timeline-key", onchange: () => this.filter(this.keyChoice.value) });
    this.firstButton = button("first", "First violation", "Jump to the first violation (V)", () => this.tell(firstStory(this.told())));
    this.previous = button("previous", "‹", "Previous counter-example", () => this.step(-1));
    this.next = button("next", "›", "Next counter-example", () => this.step(1));
    this.position = html("output", { id: "position" });
    const zooms = [
      button("zoom-out", "−", "Zoom out (−)", () => this.zoom(ZOOM)),
      button("zoom-in", "+", "Zoom in (+)", () => this.zoom(1 / ZOOM)),
      button("zoom-story", "Counter-example", "Zoom to the counter-example", () => this.tell(this.story)),
      button("zoom-fit", "Whole run", "Show the whole run (0)", () => this.fit()),
    ];
    const group = (name, ...children) => html("div", { class: "group", role: "group", "aria-label": name }, ...children);
    this.tools = html(
      "div",
      { class: "tools" },
      html("label", {}, "Level ", this.levelChoice),
      html("label", {}, "Key ", this.keyChoice),
      group("Counter-examples", this.firstButton, this.previous, this.position, this.next),
      group("Zoom", ...zooms),
    );
  }

  /** The counter-examples on the chosen key, or all. */
  told() {
    return this.current.stories.filter((story) => this.filtered === "" || story.key === this.filtered);
  }

  /** The operations on the chosen key, or all. */
  operations() {
    return this.current.operations.filter((operation) => this.filtered === "" || operation.key === this.filtered);
  }

  goToLevel(index) {
    this.current = this.levels[index];
    const { level, operations } = this.current;
    this.levelChoice.value = index;
    this.bands = bandsOf(level);
    const ends = operations.map((operation) => operation.end ?? operation.call);
    const from = operations.reduce((least, operation) => Math.min(least, operation.call), 0);
    this.view = new View(
      from,
      ends.reduce((most, end) => Math.max(most, end), level.window.end_ns - level.window.begin_ns),
    );
    const keys = new Map();
    for (const { key } of operations) keys.set(key, (keys.get(key) ?? 0) + 1);
    this.keyChoice.replaceChildren(html("option", { value: "" }, `all ${plural(keys.size, "key")}`));
    this.keyChoice.append(...[...keys].sort().map(([key, number]) => html("option", { value: key }, `${key} (${number})`)));
    this.setKey("");
    this.story = null;
    this.chosen = null;
    const first = this.current.stories[0] ?? null;
    if (first === null) this.show();
    else this.tell(first);
  }

  setKey(key) {
    this.filtered = key;
    this.keyChoice.value = key;
    this.lanes = lanesOf(this.operations());
  }

  filter(key) {
    this.setKey(key);
    const told = this.told();
    this.chosen = null;
    if (told.includes(this.story)) this.show();
    else if (told.length > 0) this.tell(told[0]);
    else this.show();
  }

  /** Shows a counter-example: its key, its moment. */
  tell(story) {
    if (story === null) return;
    this.story = story;
    this.chosen = null;
    if (this.filtered !== story.key) this.setKey(story.key);
    this.view.showAround(story.from, story.to);
    this.show();
  }

  step(by) {
    const told = this.current.stories;
    const at = told.indexOf(this.story) + by;
    if (at < 0 || at >= told.length) return;
    this.tell(told[at]);
  }

  /** Looks at one operation of this level. */
  choose(operation) {
    if (this.filtered !== "" && operation.key !== this.filtered) this.setKey(operation.key);
    this.chosen = operation.at;
    const tells = (story) => story?.roles.has(operation.at);
    if (!tells(this.story)) this.story = this.current.stories.find(tells) ?? this.story;
    this.view.reveal(operation.call, operation.end ?? operation.call);
    this.show();
  }

  /** Goes where the address points to, if that is here. */
  follow() {
    const name = fragment();
    for (const one of this.levels) {
      const story = one.stories.find((story) => story.id === name);
      const operation = one.operations.find((operation) => operation.anchor === name);
      if (!story && !operation) continue;
      if (one !== this.current) this.goToLevel(one.index);
      if (story) this.tell(story);
      if (operation) {
        if (this.story === null || !this.story.roles.has(operation.at))
          this.tell(one.stories.find((story) => story.roles.has(operation.at)) ?? null);
        this.choose(operation);
      }
      const { top, bottom } = this.host.getBoundingClientRect();
      if (bottom < 0 || top > window.innerHeight * 0.8) this.element.closest("section")?.scrollIntoView();
      return;
    }
  }

  zoom(factor, fixed) {
    this.view.zoom(factor, fixed);
    this.redraw();
  }

  fit() {
    this.view.fit();
    this.redraw();
  }

  pan(share) {
    this.view.pan(this.view.span * share);
    this.redraw();
  }

  /** Shows the state, words and all. */
  show() {
    const { level, index, stories, operations } = this.current;
    const at = stories.indexOf(this.story);
    this.position.textContent = stories.length === 0 ? "none" : `${at + 1} of ${stories.length}`;
    this.previous.disabled = at <= 0;
    this.next.disabled = at < 0 || at >= stories.length - 1;
    this.firstButton.disabled = stories.length === 0;
    this.host.hidden = operations.length === 0;
    if (this.story === null) {
      this.words.replaceChildren(html("p", { class: "empty" }, levelName(level.name, index), nothingFound(level)));
      this.below.replaceChildren();
    } else {
      const chosen = operations.find((operation) => operation.at === this.chosen);
      const hint = html(
        "p",
        { class: "note" },
        "Choose an operation to see all that is known of it and to get its link. Drag to move; the wheel zooms once the timeline has the focus, and with Ctrl at any time.",
      );
      this.words.replaceChildren(...wordsOfStory(this.story, at, stories.length));
      this.below.replaceChildren(
        arrowKey(),
        chosen ? detailsOf(chosen, this.story.roles.get(chosen.at)) : hint,
        tableOfStory(this.story, operations),
      );
    }
    this.redraw();
  }

  /** Draws once, however often the state changes before the next frame. */
  redraw() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.draw();
    });
  }

  draw() {
    const width = this.host.clientWidth;
    if (width < 40 || this.host.hidden) return;
    const unit = rem();
    this.left = unit * 6.4;
    const focused = this.host.contains(document.activeElement);
    const plot = drawTimeline({
      lanes: this.lanes,
      view: this.view,
      bands: this.bands,
      story: this.story,
      chosen: this.chosen,
      width,
      unit,
    });
    const strip = this.overview(width, unit);
    if (strip.parentNode === this.host) this.host.lastChild.replaceWith(plot);
    else this.host.replaceChildren(strip, plot);
    if (focused) (this.host.querySelector(".op.chosen") ?? this.host).focus({ preventScroll: true });
  }

  /** The strip above the picture: a new one only if there is something new in it, for a pointer may hold the one that is there. */
  overview(width, unit) {
    const shown = [this.story, this.view, width];
    if (this.strip === undefined || shown.some((one, n) => one !== this.strip.shown[n])) {
      const moments = this.current.stories.map((story) => ({ at: story.first, chosen: story === this.story }));
      const made = overviewStrip({ view: this.view, bands: this.bands, moments, width, unit, left: this.left, moved: () => this.redraw() });
      this.strip = { ...made, shown };
    }
    this.strip.follow();
    return this.strip.strip;
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const action = {
      "+": () => this.zoom(1 / ZOOM),
      "=": () => this.zoom(1 / ZOOM),
      "-": () => this.zoom(ZOOM),
      0: () => this.fit(),
      v: () => this.tell(firstStory(this.told())),
      V: () => this.tell(firstStory(this.told())),
      ArrowLeft: () => (event.shiftKey ? this.pan(-0.25) : this.walk(-1)),
      ArrowRight: () => (event.shiftKey ? this.pan(0.25) : this.walk(1)),
    }[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  }

  /** To the operation before or after the one that is looked at, by call. */
  walk(by) {
    const operations = this.operations();
    const at = operations.findIndex((operation) => operation.at === this.chosen);
    const start = this.story === null ? 0 : operations.findIndex((operation) => this.story.roles.get(operation.at) === "stale");
    const next = operations[at < 0 ? Math.max(start, 0) : at + by];
    if (!next) return;
    history.replaceState(null, "", `#${next.anchor}`);
    this.choose(next);
  }
}

/** Why there is nothing to draw. */
function nothingFound({ linearizability: { verdict, keys, operations } }) {
  if (verdict === "linearizable")
    return ` is linearizable: ${plural(operations, "operation")} on ${plural(keys.total, "key")}, and no counter-example.`;
  if (verdict === "undecided") return ` has no counter-example: ${plural(keys.undecided, "key")} could not be decided within the limit.`;
  return " has no counter-example to draw.";
}
