// The part of the run that the timeline shows. Times in nanoseconds since the run began.
"use strict";

/** Nothing is worth a closer look than this. */
const SPAN_NS_MIN = 20_000;
/** Around the operations that are to be seen: this share of what they take, on both sides. */
const AROUND = 0.35;

/** A window onto `[from, to]`, never beyond it. */
class View {
  constructor(from, to) {
    this.whole = [from, Math.max(to, from + SPAN_NS_MIN)];
    this.fit();
  }

  get span() {
    return this.to - this.from;
  }

  fit() {
    [this.from, this.to] = this.whole;
  }

  show(from, to) {
    const [first, last] = this.whole;
    const span = Math.min(Math.max(to - from, SPAN_NS_MIN), last - first);
    const middle = (from + to) / 2;
    this.from = Math.min(Math.max(middle - span / 2, first), last - span);
    this.to = this.from + span;
  }

  /** Shows everything between two moments, with room around. */
  showAround(from, to) {
    const room = Math.max((to - from) * AROUND, SPAN_NS_MIN);
    this.show(from - room, to + room);
  }

  /** Makes the window longer by `factor`; the moment `fixed` stays where it is on the screen. */
  zoom(factor, fixed = (this.from + this.to) / 2) {
    const span = Math.min(Math.max(this.span * factor, SPAN_NS_MIN), this.whole[1] - this.whole[0]);
    const share = (fixed - this.from) / this.span;
    this.show(fixed - share * span, fixed + (1 - share) * span);
  }

  pan(by) {
    this.show(this.from + by, this.to + by);
  }

  /** Brings a moment in sight, without zooming. */
  reveal(from, to) {
    if (from >= this.from && to <= this.to) return;
    const middle = (from + to) / 2;
    this.show(middle - this.span / 2, middle + this.span / 2);
  }
}
