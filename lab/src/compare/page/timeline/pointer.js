// What a pointer does to the timeline: drag to move, the wheel to zoom.
"use strict";

/** Pixels that a pointer moves before a click becomes a drag. */
const DRAG_PX_MIN = 4;
/** A wheel's click of a hundred makes the view shorter or longer by a sixth. */
const ZOOM_PER_STEP = 1.0016;

function listenToPointer(host, timeline) {
  listenToWheel(host, timeline);
  listenToDrag(host, timeline);
}

/** The moment under a pointer. */
function momentUnder(event, host, { view, left }) {
  const box = host.getBoundingClientRect();
  return linear([view.from, view.to], [box.left + left, box.left + box.width - rem() * 0.5]).invert(event.clientX);
}

/** The page scrolls as ever unless the timeline has the focus, or Ctrl is held. */
function listenToWheel(host, timeline) {
  const turn = (event) => {
    const sideways = Math.abs(event.deltaX) > Math.abs(event.deltaY);
    if (!sideways && !event.ctrlKey && !event.metaKey && !host.contains(document.activeElement)) return;
    event.preventDefault();
    if (sideways) timeline.pan(event.deltaX / host.clientWidth);
    else timeline.zoom(ZOOM_PER_STEP ** event.deltaY, momentUnder(event, host, timeline));
  };
  host.addEventListener("wheel", turn, { passive: false });
}

/** A drag that ends on an operation does not choose it. */
function listenToDrag(host, timeline) {
  let grip = null;
  host.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || event.target.closest(".overview")) return;
    grip = { x: event.clientX, from: timeline.view.from, to: timeline.view.to, moved: false };
  });
  window.addEventListener("pointermove", (event) => {
    if (grip === null) return;
    const by = event.clientX - grip.x;
    grip.moved ||= Math.abs(by) > DRAG_PX_MIN;
    if (!grip.moved) return;
    const time = (by / (host.clientWidth - timeline.left)) * (grip.to - grip.from);
    timeline.view.show(grip.from - time, grip.to - time);
    timeline.redraw();
  });
  window.addEventListener("pointerup", () => {
    const dragged = grip !== null && grip.moved;
    grip = null;
    if (!dragged) return;
    const swallow = (event) => event.preventDefault();
    host.addEventListener("click", swallow, { once: true, capture: true });
    setTimeout(() => host.removeEventListener("click", swallow, { capture: true }));
  });
  window.addEventListener("pointercancel", () => (grip = null));
  host.addEventListener("dragstart", (event) => event.preventDefault());
}
