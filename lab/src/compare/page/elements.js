// Making elements. All text goes through textContent, never through innerHTML: keys and values are whatever clients wrote.
"use strict";

const SVG_NAMESPACE = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat(Infinity)) {
    if (child !== null && child !== undefined && child !== false) element.append(child);
  }
  return element;
}

/** An HTML element. Absent children (null, undefined, false) are left out. */
function html(name, attributes, ...children) {
  return fill(document.createElement(name), attributes, children);
}

/** An SVG element. */
function svg(name, attributes, ...children) {
  return fill(document.createElementNS(SVG_NAMESPACE, name), attributes, children);
}

/** SVG text at a place; `attributes` say how it is anchored. */
function label(x, y, text, attributes) {
  return svg("text", { x: round(x), y: round(y), ...attributes }, text);
}

/** A straight line. */
function line(x1, y1, x2, y2, attributes) {
  return svg("line", { x1: round(x1), y1: round(y1), x2: round(x2), y2: round(y2), ...attributes });
}

/** What the address points to in this page; a broken address points to nothing. */
function fragment() {
  try {
    return decodeURIComponent(location.hash.slice(1));
  } catch {
    return "";
  }
}

/** Coordinates need no more than a hundredth of a pixel. */
function round(number) {
  return Math.round(number * 100) / 100;
}

/** An SVG path through points, `null` where the pen is lifted. */
function path(points) {
  let pen = "M";
  let d = "";
  for (const point of points) {
    if (point === null) {
      pen = "M";
      continue;
    }
    d += `${pen}${round(point[0])} ${round(point[1])}`;
    pen = "L";
  }
  return d;
}
