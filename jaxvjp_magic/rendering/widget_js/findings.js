// Findings as cards: the cause, and folded into it what follows from it.

import { h, sign } from "./dom.js";

export function drawFindings(state) {
  return state.view.findings.map((finding) => {
    const group = [finding, ...finding.followers];
    const card = h(
      "article",
      { class: `vc-card vc-${finding.severity}` },
      h("p", { class: "vc-heading" }, heading(state, finding, "b")),
      body(state, finding),
      finding.followers.map((follower) =>
        h(
          "details",
          { class: `vc-${follower.severity}` },
          h("summary", {}, heading(state, follower, "span")),
          body(state, follower),
        ),
      ),
    );
    return { card, severities: group.map((member) => member.severity), text: card.textContent.toLowerCase() };
  });
}

function heading(state, finding, element) {
  const { view } = state;
  return [
    h("b", { class: "vc-sign" }, sign(view, finding.severity, finding.code)),
    " ",
    finding.line ? [state.lineButton(finding.line, `line ${finding.line}`), ": "] : null,
    finding.place ? [state.elsewhereButton(finding.elsewhere, finding.place), ": "] : null,
    h(element, {}, finding.title),
    finding.relation ? h("span", { class: "vc-grey" }, ` (${finding.relation})`) : null,
    finding.new ? h("span", { class: "vc-tag" }, "new") : null,
  ];
}

function body(state, finding) {
  const parts = [];
  if (finding.snippet) parts.push(snippet(finding.snippet));
  if (finding.message) parts.push(h("p", {}, finding.message));
  if (finding.fix) parts.push(fix(finding.fix));
  if (finding.about) {
    const summary = h("summary", { class: "vc-grey" }, `what ${finding.code} is about`);
    const more = h("p", {}, "In full: ", h("code", {}, `%vjpcheck explain ${finding.code}`));
    parts.push(h("details", { class: "vc-about" }, summary, h("p", {}, finding.about), more));
  }
  if (finding.calls) {
    const [call] = finding.calls;
    parts.push(h("p", {}, h("button", { class: "vc-link", onclick: () => state.openCall(call) }, `show call ${call}`)));
  }
  return parts;
}

/** The source line, with a caret under each character of its middle part. */
function snippet([number, before, middle, after]) {
  const gutter = " ".repeat(number.length);
  return h(
    "pre",
    { class: "vc-snippet" },
    h("span", { class: "vc-grey" }, `${number} │ `),
    `${before}${middle}${after}`,
    middle && [
      "\n",
      h("span", { class: "vc-grey" }, `${gutter} │ `),
      " ".repeat(before.length),
      h("b", { class: "vc-ink" }, "^".repeat(middle.length)),
    ],
  );
}

function fix([words, code]) {
  const button = h("button", { class: "vc-copy", "aria-label": `copy the fix: ${code}` }, "copy");
  button.addEventListener("click", async () => {
    button.textContent = (await copy(code)) ? "copied" : "press Ctrl+C";
    setTimeout(() => (button.textContent = "copy"), 1500);
  });
  const copyable = code && [h("code", {}, code), " ", button];
  return h("p", { class: "vc-fix" }, h("b", {}, "fix:"), ` ${words}`, copyable);
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyBySelection(text); // pages without a secure origin, and frames without the permission
  }
}

function copyBySelection(text) {
  const field = h("textarea", { style: "position:fixed;opacity:0", "aria-hidden": "true" });
  field.value = text;
  document.body.append(field);
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  return done;
}
