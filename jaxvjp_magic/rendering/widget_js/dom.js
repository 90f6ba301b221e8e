// Elements. The user's text only becomes text nodes and attribute values, so it is never markup.

function fill(node, attributes, content) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...content.flat(2).filter((part) => part !== null && part !== undefined && part !== ""));
  return node;
}

/** An HTML element: h("p", {class: "x", onclick: f}, "text", otherElement). */
export function h(tag, attributes = {}, ...content) {
  return fill(document.createElement(tag), attributes, content);
}

/** An SVG picture from Python, which has escaped all text in it. */
export function picture(svg) {
  return new DOMParser().parseFromString(svg, "text/html").querySelector("svg");
}

/** Text that is not visible, but read by screen readers and copied with the rest. */
export function hidden(text) {
  return h("span", { class: "vc-hidden" }, text);
}

/** A severity as symbol and word; the colour is that of the element around it. */
export function sign(view, severity, more = "") {
  return `${view.symbols[severity]} ${severity}${more && ` ${more}`}`;
}
