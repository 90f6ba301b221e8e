// The widget: head, findings, tools, table. Its state is the report from widget_view.py, whole or shortened.

import { h, sign } from "./dom.js";
import { drawFindings } from "./findings.js";
import { keepWithNotebook } from "./keep.js";
import { cellAround, revealLine } from "./reveal.js";
import { Calls } from "./table.js";

const ANSWER_WITHIN = 8000; // milliseconds

function render({ model, el }) {
  const state = new State(model, el);
  keepWithNotebook(model).catch((error) => console.debug("vjpcheck: the report is not kept with the notebook", error));
  return () => state.dispose();
}

class State {
  /** @type {Calls} */ calls;
  /** @type {{severity: string | null, button: HTMLElement}[]} */ choices;

  constructor(model, root) {
    this.model = model;
    this.root = root;
    this.view = model.get("report");
    this.severity = null;
    this.words = "";
    this.answers = new Map();
    this.later = [];
    this.onMessage = (message) => this.received(message);
    model.on("msg:custom", this.onMessage);
    root.classList.add("vjpcheck");
    root.setAttribute("data-lm-suppress-shortcuts", "true"); // keys typed here are not JupyterLab's commands
    this.draw();
    if (this.missing) this.send({ kind: "rows" });
    this.watch = new ResizeObserver(() => this.attached());
    this.watch.observe(root);
  }

  dispose() {
    this.watch.disconnect();
    this.model.off("msg:custom", this.onMessage);
  }

  get missing() {
    return this.view.total - (this.calls?.rows.length ?? this.view.rows.length);
  }

  draw() {
    const { view, root } = this;
    this.cards = drawFindings(this);
    this.status = h("span", { class: "vc-grey vc-told", role: "status" });
    this.rest = h("p", { class: "vc-grey" });
    root.replaceChildren(this.head(), ...this.cards.map(({ card }) => card));
    if (view.rows.length) {
      this.calls = new Calls(this);
      root.append(this.tools(), this.calls.scroller, this.rest);
    }
    root.append(...view.quiet.map(drawQuiet));
    root.append(...view.notes.map((note) => h("p", {}, `note: ${note}`)));
    this.told();
  }

  head() {
    const { view } = this;
    return h(
      "div",
      { class: "vc-head" },
      h(
        "p",
        {},
        h("b", {}, `vjpcheck: ${view.headline}`),
        view.jax && h("span", { class: "vc-grey" }, ` jax ${view.jax}`),
      ),
      view.ending && h("p", {}, view.ending),
      view.since && drawSince(view.since),
    );
  }

  tools() {
    const { view } = this;
    const field = h("input", {
      type: "search",
      placeholder: "filter",
      "aria-label": "filter calls and findings by text",
      oninput: () => this.filter({ words: field.value.trim().toLowerCase() }),
    });
    this.field = field;
    const present = Object.keys(view.symbols).filter((severity) =>
      this.cards.some((card) => card.severities.includes(severity)),
    );
    this.choices = [null, ...present].map((severity) => ({ severity, button: this.choice(severity) }));
    return h(
      "div",
      { class: "vc-tools" },
      present.length
        ? h(
            "div",
            { role: "group", "aria-label": "severity" },
            this.choices.map(({ button }) => button),
          )
        : null,
      field,
      this.status,
      view.held ? this.total() : null,
    );
  }

  choice(severity) {
    const attributes = {
      class: severity ? `vc-${severity}` : null,
      "aria-pressed": String(severity === null),
      onclick: () => this.filter({ severity }),
    };
    return h("button", attributes, severity ? `${sign(this.view, severity)}s` : "all");
  }

  total() {
    const largest = h("button", { class: "vc-link", onclick: () => this.calls.sortBy("memory") }, "largest first");
    return h(
      "span",
      { class: "vc-total" },
      `residuals: ${this.view.held} in all `,
      this.view.most_held ? largest : null,
    );
  }

  filter(change) {
    Object.assign(this, change);
    const { severity, words } = this;
    for (const { card, severities, text } of this.cards) {
      card.hidden = (severity && !severities.includes(severity)) || (words && !text.includes(words));
    }
    for (const { button, severity: own } of this.choices) button.setAttribute("aria-pressed", String(own === severity));
    this.calls.keep = (row) =>
      (!severity || row.severities?.includes(severity)) && (!words || searched(row).includes(words));
    this.calls.scroller.scrollTop = 0;
    this.calls.arrange();
  }

  /** Say how many rows are shown, and how many calls the notebook does not have. */
  told(shown = this.calls?.shown.length ?? 0) {
    const rows = this.calls?.rows.length ?? this.view.rows.length;
    const number = (count) => count.toLocaleString("en");
    this.status.textContent =
      shown === rows ? `${number(rows)} ${rows === 1 ? "row" : "rows"}` : `${number(shown)} of ${number(rows)} rows`;
    this.rest.textContent = this.missing > 0 ? `... and ${number(this.missing)} more calls` : "";
  }

  openCall(id) {
    if (this.calls?.reveal(id)) return;
    this.field.value = "";
    this.filter({ severity: null, words: "" });
    this.calls.reveal(id);
  }

  /** A line number that goes to its line; plain text where the cell is not on this page. */
  lineButton(line, text) {
    if (this.still) return text;
    const button = h("button", { class: "vc-link vc-goto", title: `go to line ${line}` }, text);
    button.addEventListener("click", () => revealLine(this.root, line));
    return button;
  }

  /** A line of another cell: our JupyterLab extension goes there, and marks the page when it is loaded. */
  elsewhereButton(elsewhere, text) {
    if (!elsewhere || !("vjpcheckLines" in document.body.dataset)) return text;
    const [line, source] = elsewhere;
    return h(
      "button",
      {
        class: "vc-link vc-goto",
        title: `go to line ${line} of ${source}`,
        "data-commandlinker-command": "jaxvjp:go-to-line",
        "data-commandlinker-args": JSON.stringify({ line, source }),
      },
      text,
    );
  }

  attached() {
    if (!this.root.isConnected) return;
    this.root.closest(".widget-subarea")?.parentElement.querySelector(":scope > [data-vjpcheck-static]")?.remove();
    if (!this.still && !cellAround(this.root)) {
      this.still = true;
      for (const button of this.root.querySelectorAll(".vc-goto")) button.replaceWith(button.textContent);
    }
    this.calls?.resized();
  }

  send(message) {
    try {
      this.model.send(message);
    } catch (error) {
      console.debug("vjpcheck: no session", error);
    }
  }

  /** Ask the session for the details of a call that the notebook does not have. */
  ask(id) {
    return new Promise((resolve, reject) => {
      this.answers.set(id, resolve);
      setTimeout(reject, ANSWER_WITHIN, new Error("no answer"));
      this.send({ kind: "detail", id });
    });
  }

  received(message) {
    if (message.kind === "detail") {
      this.answers.get(message.id)?.(message.detail);
      this.answers.delete(message.id);
    } else if (message.kind === "rows") {
      this.later = message.from ? [...this.later, ...message.rows] : message.rows;
      if (this.later.length === this.view.total) this.complete();
    }
  }

  complete() {
    const details = new Map(this.view.rows.map((row) => [row.id, row.detail]));
    for (const row of this.later) row.detail = details.get(row.id);
    this.calls.setRows(this.later);
  }
}

function searched(row) {
  row.text ??= Object.values(row.cells)
    .flatMap((cell) => cell.lines ?? [])
    .join("\n")
    .toLowerCase();
  return row.text;
}

function drawSince({ summary, lines }) {
  const item = ([word, text]) =>
    h("li", { class: word && `vc-is-${word}` }, word && h("span", { class: "vc-word" }, word), ` ${text}`);
  if (!lines.length) return h("p", { class: "vc-grey" }, summary);
  return h("details", { class: "vc-since", open: true }, h("summary", {}, summary), h("ul", {}, lines.map(item)));
}

/** What was not checked, not compared or not shown: one quiet line, which unfolds if there is more. */
function drawQuiet({ summary, lines }) {
  if (!lines.length) return h("p", { class: "vc-grey vc-unseen" }, summary);
  const list = h(
    "ul",
    {},
    lines.map((line) => h("li", {}, line)),
  );
  return h("details", { class: "vc-grey vc-unseen" }, h("summary", {}, summary), list);
}

export default { render };
