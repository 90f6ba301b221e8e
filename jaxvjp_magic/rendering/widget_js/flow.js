// The picture of a call. Python has laid it out (flow.py); this draws the same elements as `draw` there.

const SHEET = 4;
const TEXT = "var(--jp-code-font-family,var(--vscode-editor-font-family,ui-monospace,monospace))";
const ON_HUE = { error: "#fff", warning: "#000", note: "#fff" };

function drawFlow(picture, view) {
  const { width, height } = picture;
  return s(
    "svg",
    {
      viewBox: `0 0 ${width} ${height}`,
      width,
      height,
      role: "img",
      fill: "currentColor",
      style: `max-width:100%;height:auto;font:12px ${TEXT}`,
    },
    s("title", {}, picture.title),
    s("desc", {}, picture.words),
    picture.above && s("text", { x: 1, y: 13, opacity: ".75" }, picture.above),
    picture.arrows.map((arrow) => drawArrow(arrow, view)),
    picture.boxes.map((box) => drawBox(box, view)),
  );
}

function drawArrow({ x1, y1, x2, y2, mark }, view) {
  const colour = mark ? view.hues[mark] : "currentColor";
  const along = Math.sign(x2 - x1), down = Math.sign(y2 - y1);
  const x = x2 - 7 * along, y = y2 - 7 * down;
  const head = `M${x2} ${y2}L${x - 4 * down} ${y - 4 * along}L${x + 4 * down} ${y + 4 * along}Z`;
  const parts = [
    s("path", { d: `M${x1} ${y1}L${x} ${y}`, stroke: colour, "stroke-width": mark ? 2 : 1 }),
    s("path", { d: head, fill: colour }),
  ];
  if (mark) {
    const cx = Math.floor((x1 + x2) / 2) - 3 * along, cy = Math.floor((y1 + y2) / 2) - 3 * down;
    const place = { x: cx, y: cy + 4, "text-anchor": "middle", fill: ON_HUE[mark], "font-weight": 700 };
    parts.push(s("circle", { cx, cy, r: 8, fill: colour }), s("text", place, view.symbols[mark]));
  }
  return parts;
}

function drawBox(box, view) {
  const { x, y, width, height, mark } = box;
  const colour = mark ? view.hues[mark] : "currentColor";
  const parts = [];
  for (let sheet = box.stack ?? 0; sheet > 0; sheet--) parts.push(drawSheet(box, sheet));
  parts.push(
    s("rect", {
      x, y, width, height,
      rx: box.round ? Math.floor(height / 2) : 3,
      fill: mark ? `${colour}22` : "none",
      stroke: colour,
      "stroke-opacity": mark ? null : ".5",
      "stroke-dasharray": box.missing ? "3 3" : null,
    }),
  );
  if (box.label) {
    const place = { x: x + (box.aside ?? 0), y: y - 5 - SHEET * (box.stack ?? 0), opacity: ".75" };
    parts.push(s("text", place, box.label));
  }
  box.lines.forEach((line, number) => parts.push(drawLine(box, number, line, view)));
  return parts;
}

function drawSheet(box, number) {
  const x = box.x + SHEET * number, y = box.y - SHEET * number;
  const d = `M${x} ${y + SHEET}V${y}H${x + box.width}V${y + box.height}H${x + box.width - SHEET}`;
  return s("path", { d, fill: "none", stroke: "currentColor", "stroke-opacity": ".4" });
}

function drawLine(box, number, line, view) {
  if (box.round) {
    const place = { x: box.x + Math.floor(box.width / 2), y: box.y + 18, "text-anchor": "middle" };
    return s("text", place, line);
  }
  const place = { x: box.x + 10, y: box.y + 5 + 17 * number + 13 };
  if (box.mark && number === (box.marked ?? 0)) {
    return s("text", { ...place, "font-weight": 700 }, `${view.symbols[box.mark]} ${line}`);
  }
  return s("text", box.missing ? { ...place, opacity: ".75" } : place, line);
}
