// The table of calls. The height of a row is known before it is drawn (its lines times the height of a line), so of
// thousands of rows only those in sight exist. Opened rows are measured after they are drawn.

import { drawDetail, marked } from "./detail.js";
import { h } from "./dom.js";

const LINE = 20;
const PADDING = 9; // above and below a row's lines, and the rule between rows
const WHOLE = 60; // up to so many rows are all drawn, without a scroll area
const IN_SIGHT = 520;
const AROUND = 400;
const WIDEST = 44;
const GUESS = 260; // the height of an opened row before it is drawn
const RIGHT = new Set(["line", "memory", "count"]);
const NUMBERS = {
  "#": (row) => row.id,
  line: (row) => row.line ?? null,
  vmap: (row) => row.cells.vmap?.lines[0].split(" ").reduce((a, b) => a * Number(b), 1) ?? null,
  memory: (row) => row.held ?? (row.cells.memory ? 0 : null),
  count: (row) => row.count ?? 1,
};
const LARGEST_FIRST = new Set(["memory", "count", "vmap"]);

export class Calls {
  /** @type {string[]} */ columns;
  /** @type {HTMLElement[]} */ heads;
  /** @type {HTMLElement} */ body;
  /** @type {Float64Array} */ starts;

  constructor(state) {
    this.state = state;
    this.sort = { column: "#", down: false };
    this.open = new Set();
    this.tall = new Map(); // the heights of opened rows
    this.drawn = new Map(); // row id -> its elements
    this.keep = () => true;
    this.table = h("table", { class: "vc-calls" });
    this.scroller = h(
      "div",
      { class: "vc-scroll", role: "region", "aria-label": "calls", tabindex: 0, onscroll: () => this.scrolled() },
      this.table,
    );
    this.table.addEventListener("keydown", (event) => this.key(event));
    this.setRows(state.view.rows);
  }

  /** Replace the rows, as when the kernel has sent all of them. */
  setRows(rows) {
    this.rows = rows;
    const used = this.state.view.columns.filter((column) => rows.some((row) => row.cells[column] || row.was?.[column]));
    this.columns = ["#", ...used];
    this.drawn.clear();
    this.table.replaceChildren(this.caption(), this.widths(), this.head(), (this.body = h("tbody")));
    this.arrange();
  }

  caption() {
    return h("caption", { class: "vc-hidden" }, this.state.view.caption);
  }

  /** Columns keep their widths while rows come and go. */
  widths() {
    const letters = (column) => {
      let most = column === "#" ? 1 : column.length + 1;
      for (const row of this.rows) {
        if (column === "#") most = Math.max(most, String(row.id).length);
        const cell = row.cells[column];
        const extra = column === "call" ? 3 + indent(row) : column === "memory" ? 5 : cell?.mark ? 2 : 0;
        for (const line of cell?.lines ?? []) most = Math.max(most, line.length + extra);
        if (row.was?.[column]) most = Math.max(most, row.was[column].length + 4);
        if (column === "call" && row.new) most = Math.max(most, cell.lines[0].length + extra + 5);
      }
      return Math.min(most, WIDEST);
    };
    return h(
      "colgroup",
      {},
      this.columns.map((column) => h("col", { style: `width:calc(${letters(column)}ch + 14px)` })),
    );
  }

  head() {
    this.heads = this.columns.map((column) =>
      h(
        "th",
        { scope: "col", class: RIGHT.has(column) || column === "#" ? "vc-right" : null },
        h("button", { onclick: () => this.sortBy(column) }, column, h("span", { "aria-hidden": "true" })),
      ),
    );
    return h("thead", {}, h("tr", { "aria-rowindex": 1 }, this.heads));
  }

  sortBy(column) {
    const { sort } = this;
    const first = LARGEST_FIRST.has(column);
    if (sort.column !== column) this.sort = { column, down: first };
    else if (sort.down === first) this.sort = { column, down: !first };
    else this.sort = { column: "#", down: false };
    this.scroller.scrollTop = 0;
    this.arrange();
  }

  /** Filter and sort; rows without a value come last. */
  arrange() {
    const { column, down } = this.sort;
    const value = NUMBERS[column] ?? ((row) => row.cells[column]?.lines?.join(" ") ?? null);
    const compare = (a, b) => (a < b ? -1 : a > b ? 1 : 0) * (down ? -1 : 1);
    this.shown = this.rows.filter(this.keep);
    if (column !== "#" || down) {
      const keyed = this.shown.map((row) => [value(row), row]);
      keyed.sort(([a], [b]) => (a === null ? (b === null ? 0 : 1) : b === null ? -1 : compare(a, b)));
      this.shown = keyed.map(([, row]) => row);
    }
    this.heads.forEach((head, number) => {
      const sorted = this.columns[number] === column && (column !== "#" || down);
      if (sorted) head.setAttribute("aria-sort", down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
      /** @type {HTMLElement} */ (head.querySelector("span")).textContent = sorted ? (down ? " ↓" : " ↑") : "";
    });
    this.flat = column !== "#" || down;
    this.drawn.clear();
    this.table.setAttribute("aria-rowcount", this.shown.length + 1);
    this.place();
    this.state.told(this.shown.length);
  }

  /** Where each row begins. */
  place() {
    this.starts = new Float64Array(this.shown.length + 1);
    this.shown.forEach((row, number) => {
      const opened = this.open.has(row.id) ? (this.tall.get(row.id) ?? GUESS) : 0;
      this.starts[number + 1] = this.starts[number] + rowHeight(row) + opened;
    });
    this.whole = this.shown.length <= WHOLE;
    this.scroller.classList.toggle("vc-long", !this.whole);
    this.draw();
  }

  /** Fit opened rows to the new width of the output. */
  resized() {
    this.scroller.style.setProperty("--vc-width", `${this.scroller.clientWidth}px`);
    this.measure([...this.body.children]);
    this.scrolled();
  }

  scrolled() {
    if (this.whole || this.waiting) return;
    this.waiting = requestAnimationFrame(() => {
      this.waiting = 0;
      this.draw();
    });
  }

  /** Draw the rows in sight, and two empty rows as tall as what is above and below. */
  draw() {
    const count = this.shown.length;
    let from = 0,
      to = count;
    if (!this.whole) {
      const top = this.scroller.scrollTop,
        height = this.scroller.clientHeight || IN_SIGHT;
      from = this.at(top - AROUND);
      to = Math.min(count, this.at(top + height + AROUND) + 1);
    }
    const elements = [];
    const present = new Set();
    for (let number = from; number < to; number++) {
      const row = this.shown[number];
      present.add(row.id);
      if (!this.drawn.has(row.id)) this.drawn.set(row.id, this.row(row));
      const [line] = this.drawn.get(row.id);
      line.setAttribute("aria-rowindex", number + 2);
      elements.push(...this.drawn.get(row.id));
    }
    for (const id of this.drawn.keys()) if (!present.has(id)) this.drawn.delete(id);
    const focused = this.body.contains(document.activeElement) ? document.activeElement : null;
    this.body.replaceChildren(spacer(this.starts[from]), ...elements, spacer(this.starts[count] - this.starts[to]));
    if (focused) (focused.isConnected ? focused : this.scroller).focus({ preventScroll: true });
    this.measure(elements);
  }

  /** The index of the row at a height. */
  at(height) {
    let low = 0,
      high = this.shown.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.starts[middle + 1] <= height) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  measure(elements) {
    let changed = false;
    for (const element of elements) {
      const id = Number(element.dataset.opened);
      const height = id && element.offsetHeight;
      if (height && Math.abs((this.tall.get(id) ?? 0) - height) > 1) {
        this.tall.set(id, height);
        changed = true;
      }
    }
    if (changed && !this.whole) this.place();
  }

  row(row) {
    const opened = this.open.has(row.id);
    const line = h(
      "tr",
      { class: opened ? "vc-opened" : null, "data-call": row.id, onclick: (event) => this.clicked(event, row) },
      this.columns.map((column) => this.cell(row, column)),
    );
    return opened ? [line, this.detail(row)] : [line];
  }

  cell(row, column) {
    if (column === "#") return h("td", { class: "vc-right vc-grey" }, String(row.id));
    const cell = row.cells[column];
    const right = RIGHT.has(column) ? "vc-right" : null;
    if (column === "call") return h("th", { scope: "row" }, this.opener(row), wasLine(row, column));
    if (column === "line" && row.line)
      return h("td", { class: right }, this.state.lineButton(row.line, String(row.line)));
    if (column === "line" && row.elsewhere) {
      return h("td", { class: right }, this.state.elsewhereButton(row.elsewhere, cell.lines.join(" ")));
    }
    const lines = (cell?.lines ?? (cell ? [""] : [])).map((text, number) =>
      h(
        "div",
        { class: "vc-line", title: text.length > WIDEST ? text : null },
        cell.mark && number === cell.marked ? marked(this.state.view, cell.mark, text) : text,
      ),
    );
    if (column === "memory" && cell) {
      lines[0].classList.add("vc-memory");
      lines[0].prepend(this.bar(row));
    }
    return h("td", { class: right }, lines, wasLine(row, column));
  }

  bar(row) {
    const held = row.held ?? 0; // 0 is left out of the row's data
    const share = held && Math.max(2, Math.round((100 * held) / this.state.view.most_held));
    return h("span", { class: "vc-bar", "aria-hidden": "true" }, h("span", { style: `width:${share}%` }));
  }

  /** The button that opens a row, indented as the call is nested. */
  opener(row) {
    const opened = this.open.has(row.id);
    const depth = this.flat ? 0 : indent(row);
    const branch = depth ? `${" ".repeat(depth - 2)}└ ` : "";
    return h(
      "div",
      { class: "vc-line" },
      h(
        "button",
        { class: "vc-opener", "aria-expanded": String(opened), title: opened ? "close" : "leaves and picture" },
        h("span", { class: "vc-twist", "aria-hidden": "true" }, opened ? "▾" : "▸"),
        h("span", { class: "vc-grey", "aria-hidden": "true" }, branch),
        row.cells.call?.lines?.[0] ?? "",
      ),
      row.new ? h("span", { class: "vc-tag" }, "new") : null,
    );
  }

  detail(row) {
    const inside = h("div", { class: "vc-inside" }, h("p", { class: "vc-grey" }, "…"));
    const element = h("tr", { "data-opened": row.id }, h("td", { colspan: this.columns.length }, inside));
    const show = (detail) => inside.replaceChildren(drawDetail(this.state, row, detail));
    if (row.detail) show(row.detail);
    else {
      this.state.ask(row.id).then(
        (detail) => {
          row.detail = detail;
          show(detail);
          this.measure([element]);
        },
        () => inside.replaceChildren(h("p", {}, "the session with the leaves of this call has ended")),
      );
    }
    return element;
  }

  clicked(event, row) {
    if (event.target.closest("button, a") && !event.target.closest(".vc-opener")) return;
    if (!event.target.closest(".vc-opener") && String(getSelection())) return; // a click that selects text
    this.toggle(row, event.target.closest(".vc-opener") !== null);
  }

  toggle(row, focus) {
    if (!this.open.delete(row.id)) this.open.add(row.id);
    this.drawn.delete(row.id);
    this.place();
    if (focus) this.opened(row.id)?.focus({ preventScroll: true });
  }

  opened(id) {
    return this.drawn.get(id)?.[0].querySelector(".vc-opener");
  }

  /** Open a call, and scroll to it; returns whether it is shown. */
  reveal(id) {
    const number = this.shown.findIndex((row) => row.id === id);
    if (number < 0) return false;
    if (!this.open.has(id)) this.toggle(this.shown[number], false);
    if (!this.whole) {
      this.scroller.scrollTop = this.starts[number] - LINE;
      this.draw();
    }
    const button = this.opened(id);
    button?.closest("tr").scrollIntoView({ block: "nearest" });
    button?.focus({ preventScroll: true });
    return true;
  }

  /** Up and down go from row to row. */
  key(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const id = Number(event.target.closest("tr[data-call]")?.dataset.call);
    if (!step || !id || !event.target.matches(".vc-opener")) return;
    const number = this.shown.findIndex((row) => row.id === id) + step;
    if (number < 0 || number >= this.shown.length) return;
    event.preventDefault();
    if (!this.drawn.has(this.shown[number].id)) {
      this.scroller.scrollTop = this.starts[number];
      this.draw();
    }
    const button = this.opened(this.shown[number].id);
    button.focus({ preventScroll: true });
    button.closest("tr").scrollIntoView({ block: "nearest" });
  }
}

const DEEPEST = 12;

function indent(row) {
  return 2 * Math.min(row.depth ?? 0, DEEPEST);
}

function rowHeight(row) {
  let most = 1;
  for (const column of Object.keys({ ...row.cells, ...row.was })) {
    most = Math.max(most, (row.cells[column]?.lines?.length ?? 1) + (row.was?.[column] ? 1 : 0));
  }
  return most * LINE + PADDING;
}

function spacer(height) {
  return h("tr", { "aria-hidden": "true", class: "vc-space", style: `height:${height}px` });
}

function wasLine(row, column) {
  return row.was?.[column] ? h("div", { class: "vc-line vc-was" }, `was ${row.was[column]}`) : null;
}
