// Ranks under each protocol: protocols across, places down, a line for each row.

const BUMP = { side: 176, row: 27, top: 44 };

/** Few protocols stand further apart, where the window is wide enough. */
const columnOf = (move) => Math.max(104, Math.min(230, (innerWidth - 500) / (move.protocols.length - 1)));

/** Per protocol the rows that have a value, the best first; equal values keep the order of the protocol before. */
function slots(move) {
  const sign = higherWins(move.metric) ? -1 : 1;
  let before = move.rows.map((_, index) => index);
  return move.protocols.map((_, column) => {
    const value = (index) => move.rows[index].values[column];
    before = before.toSorted((a, b) => sign * ((value(a) ?? 0) - (value(b) ?? 0)));
    return new Map(before.filter((index) => value(index) !== null).map((index, slot) => [index, slot]));
  });
}

function kindOf(row, order) {
  return row.control ? "is-control" : `hue-${order % 5} dash-${Math.floor(order / 5) % 3}`;
}

function told(move, row) {
  const parts = move.protocols.map((protocol, column) => {
    if (row.values[column] === null) return `${protocol}: no value`;
    const place = row.places[column];
    return `${protocol}: ${place === null ? "not ranked" : `place ${place}`}, ${shown(row.values[column], move.metric)} %`;
  });
  return `${row.title}${row.control ? " (control)" : ""}. ${parts.join("; ")}.`;
}

function bend(from, to) {
  const middle = (from[0] + to[0]) / 2;
  return `M${from[0]} ${from[1]}C${middle} ${from[1]} ${middle} ${to[1]} ${to[0]} ${to[1]}`;
}

function track(move, places, index, kind) {
  const row = move.rows[index];
  const at = places.map((slot, column) =>
    slot.has(index) ? [BUMP.side + column * columnOf(move), BUMP.top + slot.get(index) * BUMP.row] : null,
  );
  const first = at.find(Boolean);
  const last = at.findLast(Boolean);
  if (!first) return null;
  const paths = at.slice(1).map((to, column) => (at[column] && to ? svg("path", { d: bend(at[column], to) }) : null));
  const nodes = at.map(
    (spot, column) =>
      spot && [
        row.control
          ? svg("rect", { class: "node", x: spot[0] - 7, y: spot[1] - 7, width: 14, height: 14 })
          : svg("circle", { class: "node", cx: spot[0], cy: spot[1], r: 10.5 }),
        svg("text", { class: "place", x: spot[0], y: spot[1] + 4, "text-anchor": "middle" }, row.places[column] ?? ""),
      ],
  );
  const name = cut(row.title, 22);
  return svg(
    "g",
    { class: `track ${kind}`, tabindex: "0", role: "img", "aria-label": told(move, row), "data-title": row.title },
    paths.map((path) => path && svg("path", { class: "reach", d: path.getAttribute("d") })),
    paths,
    nodes,
    svg("text", { class: "name", x: first[0] - 18, y: first[1] + 4, "text-anchor": "end" }, name),
    svg("text", { class: "name", x: last[0] + 18, y: last[1] + 4 }, name),
  );
}

function bumpTable(move) {
  const cell = (row, column) => {
    if (row.values[column] === null) return "";
    const place = row.places[column];
    return `${place === null ? "–" : place} (${shown(row.values[column], move.metric)})`;
  };
  const lines = move.rows.map((row) => [row.title, ...move.protocols.map((_, column) => cell(row, column))]);
  const tau = move.tau.map((value) => (value === null ? "" : minus(value.toFixed(2))));
  const caption = `Place and ${displayed(move.metric)} in percent under each protocol`;
  return plainTable(caption, ["Method", ...move.protocols], [...lines, ["Kendall's τ", ...tau]]);
}

/** The chart of one entry of `moves`, its table folded below; `current` is the protocol being read elsewhere. */
function bump(move, current = "") {
  const places = slots(move);
  const width = 2 * BUMP.side + (move.protocols.length - 1) * columnOf(move);
  const height = BUMP.top + Math.max(...places.map((slot) => slot.size)) * BUMP.row + 18;
  const heads = move.protocols.map((protocol, column) => {
    const x = BUMP.side + column * columnOf(move);
    const tau = move.tau[column];
    return svg(
      "g",
      { class: protocol === current ? "head current" : "head" },
      svg("text", { class: "protocol", x, y: 12, "text-anchor": "middle" }, protocol),
      svg("rect", { class: "stroke", x: x - 11, y: BUMP.top - 13, width: 22, height: height - BUMP.top - 6 }),
      tau === null || tau === undefined
        ? null
        : svg("text", { class: "tick", x, y: height - 2, "text-anchor": "middle" }, `τ ${minus(tau.toFixed(2))}`),
    );
  });
  let order = 0;
  const kinds = move.rows.map((row) => kindOf(row, row.control ? 0 : order++));
  const label = `Ranks by ${displayed(move.metric)} of ${plural(move.rows.length, "row")} under ${plural(move.protocols.length, "protocol")}`;
  const drawing = svg(
    "svg",
    { class: "bump", viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": label },
    heads,
    move.rows.map((_, index) => track(move, places, index, kinds[index])),
  );
  drawing.style.setProperty("width", `${width}px`);
  return el(
    "div",
    { class: "moves" },
    scrollBox("moves-box", label, drawing),
    el("details", {}, el("summary", {}, "The same as a table"), scrollBox("", "Ranks as a table", bumpTable(move))),
  );
}
