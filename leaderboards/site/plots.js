// Plots as SVG: one frame for curves, one for rows with intervals. Series differ in dash and marker, not in hue alone.

const FRAME = { width: 440, height: 300, left: 52, right: 14, top: 12, bottom: 46 };

const scale =
  ([low, high], [from, to]) =>
  (value) =>
    from + ((value - low) / (high - low || 1)) * (to - from);

/** Round steps over a range: at most `most` of them. */
function ticks([low, high], most = 5) {
  const rough = (high - low || 1) / most;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((size) => size >= rough - 1e-12);
  const first = Math.ceil(low / step - 1e-9);
  const number = Math.floor(high / step + 1e-9) - first + 1;
  return Array.from({ length: number }, (_, index) => Number(((first + index) * step).toPrecision(12)));
}

function extent(values, margin = 0.05) {
  const low = Math.min(...values);
  const high = Math.max(...values);
  const room = (high - low || Math.abs(high) || 1) * margin;
  return [low - room, high + room];
}

function axes(x, y, plot) {
  const bottom = FRAME.height - FRAME.bottom;
  const right = FRAME.width - FRAME.right;
  const across = ticks(plot.x).map((value) => [
    svg("line", { class: "grid", x1: x(value), x2: x(value), y1: FRAME.top, y2: bottom }),
    svg("text", { class: "tick", x: x(value), y: bottom + 17, "text-anchor": "middle" }, (plot.xText ?? String)(value)),
  ]);
  const up = ticks(plot.y).map((value) => [
    svg("line", { class: "grid", x1: FRAME.left, x2: right, y1: y(value), y2: y(value) }),
    svg(
      "text",
      { class: "tick", x: FRAME.left - 8, y: y(value) + 4, "text-anchor": "end" },
      (plot.yText ?? String)(value),
    ),
  ]);
  const middle = (FRAME.top + bottom) / 2;
  return [
    across,
    up,
    svg("line", { class: "axis", x1: FRAME.left, x2: right, y1: bottom, y2: bottom }),
    svg(
      "text",
      { class: "label", x: (FRAME.left + right) / 2, y: FRAME.height - 8, "text-anchor": "middle" },
      plot.xLabel,
    ),
    svg(
      "text",
      { class: "label", transform: `translate(14 ${middle}) rotate(-90)`, "text-anchor": "middle" },
      plot.yLabel,
    ),
  ];
}

function marker(kind, x, y, size, text) {
  const title = svg("title", {}, text);
  const side = size * 0.9;
  if (kind === 1)
    return svg("rect", { class: "mark", x: x - side, y: y - side, width: 2 * side, height: 2 * side }, title);
  const corners = [
    [x, y - 1.25 * size],
    [x + 1.25 * size, y],
    [x, y + 1.25 * size],
    [x - 1.25 * size, y],
  ];
  if (kind === 2) return svg("polygon", { class: "mark", points: corners.map(String).join(" ") }, title);
  return svg("circle", { class: "mark", cx: x, cy: y, r: size }, title);
}

function drawn(series, x, y, plot) {
  const path = series.points
    .map(([a, b], index) => `${index ? "L" : "M"}${x(a).toFixed(2)} ${y(b).toFixed(2)}`)
    .join("");
  const marks = (series.marks === false ? [] : series.points).map(([a, b, size]) =>
    marker(series.marker ?? 0, x(a), y(b), size ?? 3, `${(plot.xText ?? String)(a)}: ${(plot.yText ?? String)(b)}`),
  );
  const title = series.name ? svg("title", {}, series.name) : null;
  return svg(
    "g",
    { class: `series ${series.kind}` },
    title,
    series.line === false ? null : svg("path", { d: path }),
    marks,
  );
}

/** A drawing with what it shows in words and, folded away, in numbers. */
function figure(title, drawing, { about = "", table = null, legend = null, kind = "" } = {}) {
  return el(
    "figure",
    { class: `plot ${kind}` },
    el("figcaption", {}, el("strong", {}, title), about ? ` ${about}` : ""),
    drawing,
    legend,
    table &&
      el(
        "details",
        {},
        el("summary", {}, "Numbers", unseen(` of ${title}`)),
        scrollBox("", `Numbers: ${title}`, table),
      ),
  );
}

/** `plot`: x and y ranges, labels, tick texts, and series of [x, y, size] points. */
function chart(plot) {
  const x = scale(plot.x, [FRAME.left, FRAME.width - FRAME.right]);
  const y = scale(plot.y, [FRAME.height - FRAME.bottom, FRAME.top]);
  const drawing = svg(
    "svg",
    { viewBox: `0 0 ${FRAME.width} ${FRAME.height}`, role: "img", "aria-label": plot.words },
    axes(x, y, plot),
    plot.series.map((series) => drawn(series, x, y, plot)),
  );
  return figure(plot.title, drawing, plot);
}

function legend(names) {
  const key = (kind, index) =>
    svg(
      "svg",
      { viewBox: "0 0 34 12", class: "key", "aria-hidden": "true" },
      svg("g", { class: `series ${kind}` }, svg("path", { d: "M2 6H32" }), marker(index % 3, 17, 6, 3, "")),
    );
  return el(
    "ul",
    { class: "legend" },
    names.map(([name, kind], index) => el("li", {}, key(kind, index), name)),
  );
}

/** Rows of [label, n, value, low, high], fractions, one under the other on one scale. */
function intervalRows({ title, about, rows, words, kind, range: given }) {
  const [width, left, right, step] = [440, 136, 92, 24];
  const height = rows.length * step + 30;
  const bounds = given ?? [0, 1];
  const x = scale(bounds, [left, width - right]);
  const bottom = height - 26;
  const lines = ticks(bounds, 4).map((value) => [
    svg("line", { class: "grid", x1: x(value), x2: x(value), y1: 0, y2: bottom }),
    svg("text", { class: "tick", x: x(value), y: bottom + 17, "text-anchor": "middle" }, percent(value, 0)),
  ]);
  const row = ([label, n, value, low, high], index) => {
    const y = index * step + step / 2;
    return svg(
      "g",
      { class: "row" },
      svg(
        "text",
        { class: "label", x: left - 10, y: y + 4, "text-anchor": "end" },
        cut(label, 19),
        svg("title", {}, label),
      ),
      low === null || low === undefined
        ? null
        : svg("line", { class: "whisker", x1: x(low), x2: x(high), y1: y, y2: y }),
      kind === "bars"
        ? svg("rect", { class: "rod", x: left, y: y - 7, width: Math.max(0, x(value) - left), height: 14 })
        : marker(0, x(value), y, 4, `${label}: ${percent(value)} %`),
      svg("text", { class: "value", x: width - right + 10, y: y + 4 }, percent(value)),
      n === null ? null : svg("text", { class: "tick", x: width, y: y + 4, "text-anchor": "end" }, n),
    );
  };
  const drawing = svg(
    "svg",
    { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": words },
    lines,
    rows.map(row),
  );
  const numbers = rows.map(([label, n, value, low, high]) => [
    label,
    n === null ? "" : grouped(n),
    percent(value),
    low === null || low === undefined ? "" : range(low, high),
  ]);
  const table = plainTable(title, ["", "samples", "%", "95 % interval"], numbers);
  return figure(title, drawing, { about, table, kind: "rows" });
}

const cut = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
