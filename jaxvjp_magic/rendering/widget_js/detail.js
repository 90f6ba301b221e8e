// What an opened row shows: the picture of the call, and its leaves, expected beside got.

import { h, hidden, picture } from "./dom.js";

const MOST_LEAVES = 300;

export function drawDetail(state, row, detail) {
  const { view } = state;
  const leaves = detail.leaves.slice(0, MOST_LEAVES);
  const more = detail.leaves.length - leaves.length;
  return h(
    "div",
    { class: "vc-detail" },
    h("div", { class: "vc-picture" }, picture(detail.picture)),
    h(
      "table",
      { class: "vc-leaves" },
      h("caption", {}, `leaves of call ${row.id}`),
      leafHead(leaves),
      h(
        "tbody",
        {},
        leaves.map((leaf, number) => leafRow(view, leaf, leaves[number - 1], leaves)),
      ),
    ),
    more > 0 ? h("p", { class: "vc-grey" }, `... and ${more.toLocaleString("en")} more leaves`) : null,
  );
}

const LEAF_COLUMNS = [
  ["path", "leaf"],
  ["expected", "expected"],
  ["got", "got"],
  ["size", "size"],
];

function leafColumns(leaves) {
  return LEAF_COLUMNS.filter(([key]) => key === "got" || leaves.some((leaf) => leaf[key]));
}

function leafHead(leaves) {
  const names = ["part", ...leafColumns(leaves).map(([, name]) => name)];
  return h(
    "thead",
    {},
    h(
      "tr",
      {},
      names.map((name) => h("th", { scope: "col" }, name)),
    ),
  );
}

function leafRow(view, leaf, before, leaves) {
  const first = leaf.phase !== before?.phase;
  return h(
    "tr",
    { class: first ? "vc-first" : null },
    h("th", { scope: "row" }, first ? leaf.phase : hidden(leaf.phase)),
    leafColumns(leaves).map(([key]) =>
      h("td", {}, key === "got" && leaf.mark ? marked(view, leaf.mark, leaf.got) : (leaf[key] ?? "")),
    ),
  );
}

/** A mismatch, with its severity as a symbol and, for screen readers, as a word. */
export function marked(view, severity, text) {
  return h("b", { class: `vc-mark vc-${severity}` }, `${view.symbols[severity]} `, hidden(`${severity} `), text);
}
