// Go to a line of the checked cell: find it in the page around this output, scroll to it, highlight it for a moment.

import { h } from "./dom.js";

const CELLS = ".jp-Cell, .jp-CodeCell, div.code_cell, .cell";
const INPUTS = ".jp-InputArea, .jp-Cell-inputWrapper, .input, .input_area";

/** The cell that this output belongs to; null if the page has none (other front ends keep outputs in frames). */
export function cellAround(element) {
  const cell = element.closest(CELLS);
  return cell?.querySelector(INPUTS) ? cell : null;
}

/** Show a line of the cell; whether that worked. */
export function revealLine(element, line) {
  const cell = cellAround(element);
  const area = cell?.querySelector(INPUTS);
  if (!area) return false;
  const content = area.querySelector(".cm-content");
  const editor = content?.cmTile?.view ?? content?.cmView?.view;
  if (editor) return revealInEditor(editor, line);
  const shown = content ? content.querySelectorAll(".cm-line")[line - 1]?.getBoundingClientRect() : inText(area, line);
  if (!shown) return false;
  light(area, shown);
  return true;
}

function revealInEditor(editor, line) {
  if (line > editor.state.doc.lines) return false; // the cell was edited since
  const { from } = editor.state.doc.line(line);
  editor.dispatch({ selection: { anchor: from }, scrollIntoView: true });
  editor.focus();
  requestAnimationFrame(() => {
    const place = editor.coordsAtPos(from);
    if (place) light(editor.dom, place);
  });
  return true;
}

/** The place of a line in an exported page, where the source is text in a <pre>. */
function inText(area, line) {
  const pre = area.querySelector("pre");
  if (!pre) return null;
  const range = document.createRange();
  const walker = document.createTreeWalker(pre, NodeFilter.SHOW_TEXT);
  let left = line - 1;
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const { data } = /** @type {Text} */ (node);
    for (let at = 0; at < data.length; at++) {
      if (left === 0 && data[at] !== "\n") {
        range.setStart(node, at);
        range.setEnd(node, at + 1);
        return range.getBoundingClientRect();
      }
      if (data[at] === "\n" && left-- === 0) return null; // an empty line
    }
  }
  return null;
}

/** Scroll there, and draw a bar that fades over the line. */
function light(area, place) {
  const frame = area.getBoundingClientRect();
  if (getComputedStyle(area).position === "static") area.style.position = "relative";
  const height = place.bottom - place.top;
  const bar = h("div", {
    class: "vc-light",
    "aria-hidden": "true",
    style: `top:${place.top - frame.top + area.scrollTop}px;height:${height}px`,
  });
  area.append(bar);
  bar.scrollIntoView({ block: "center", behavior: "auto" });
  bar.animate([{ opacity: 1 }, { opacity: 1, offset: 0.5 }, { opacity: 0 }], { duration: 1800 }).onfinish = () =>
    bar.remove();
}
