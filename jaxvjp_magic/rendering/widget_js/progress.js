// A line below a cell while it runs. It is part of the page and not an output, so the cell's own outputs stay as they
// are, and nothing is saved with the notebook.

import { h } from "./dom.js";

const RUNNING = "[*]:";

function initialize({ model }) {
  const line = h("div", { class: "vjpcheck vc-progress", role: "status" });
  const show = () => {
    line.textContent = model.get("text");
    if (!line.isConnected) runningCell(model.get("cell"))?.append(line);
  };
  model.on("change:text", show);
  model.on("msg:custom", () => line.remove()); // the cell is done
  show();
  return () => line.remove();
}

/** The cell on this page that runs this text; null in front ends that keep outputs in frames. */
function runningCell(text) {
  for (const cell of document.querySelectorAll(".jp-CodeCell")) {
    if (cell.querySelector(".jp-InputPrompt")?.textContent !== RUNNING) continue;
    /** @type {any} */
    const content = cell.querySelector(".cm-content"); // with CodeMirror's own view
    const editor = content?.cmTile?.view ?? content?.cmView?.view;
    const shown = editor?.state.doc.toString() ?? content?.innerText ?? "";
    if (shown.trimEnd() === text.trimEnd()) return cell;
  }
  return null;
}

export default { initialize };
