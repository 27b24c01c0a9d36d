// The table of a board: its columns, their order, its cells.

/** Columns in order; `value` is what is sorted by, null where the cell is blank; `best` is which end is the better. */
function columnsOf(board, by) {
  const metric = (name) => ({
    key: name,
    label: `${displayed(name)} %`,
    about: data.metrics[name]?.about ?? "",
    kind: "measure",
    best: higherWins(name) ? "high" : "low",
    value: (row) => row.values[name] ?? null,
    cell: (row, scales) => measured(row, name, scales),
  });
  return [
    {
      key: "rank",
      label: "Rank",
      about: `by ${displayed(by)}`,
      kind: "rank",
      best: "low",
      value: (row) => row.ranks[by] ?? null,
      cell: (row) => ranked(row, by),
    },
    { key: "title", label: "Method", kind: "name", best: "low", value: (row) => row.title, cell: named },
    ...board.metrics.map(metric),
    {
      key: "listens",
      label: "Listens?",
      about: "Points lost with another sound",
      kind: "word",
      best: "high",
      value: (row) => row.listens && heard(row.listens),
      cell: listening,
    },
    {
      key: "selection",
      label: "Checkpoint",
      kind: "word",
      best: "low",
      value: (row) => (shortSelection(row.selection) === "–" ? null : row.selection),
      cell: (row) => el("td", {}, shortSelection(row.selection)),
    },
    {
      key: "parameters",
      label: "Params",
      about: "At inference",
      kind: "number",
      best: "low",
      value: (row) => row.parameters,
      cell: (row) => el("td", { class: "number" }, row.parameters === null ? "" : count(row.parameters)),
    },
    {
      key: "milliseconds",
      label: "ms",
      about: "Per sample",
      kind: "number",
      best: "low",
      value: (row) => row.milliseconds,
      cell: (row) => el("td", { class: "number", title: row.device }, speed(row.milliseconds)),
    },
  ];
}

const speed = (time) => (time === null ? "" : time.toFixed(time < 10 ? 2 : 1));
const heard = (listens) => ["no", "unclear", "yes"].indexOf(listens.verdict) * 10 + (listens.drop ?? 0);

/** Rows by one column, blanks last whichever way it runs, equals in the board's order. */
function sorted(rows, column, downwards) {
  const compare = (a, b) => (typeof a === "string" ? a.localeCompare(b, "en", { numeric: true }) : a - b);
  const having = rows.filter((row) => column.value(row) !== null);
  const blank = rows.filter((row) => column.value(row) === null);
  return [...having.toSorted((a, b) => (downwards ? -1 : 1) * compare(column.value(a), column.value(b))), ...blank];
}

function ranked(row, by) {
  const rank = row.ranks[by] ?? null;
  if (rank === null) return el("td", { class: "rank" }, row.control ? unseen("control, not ranked") : "");
  return el("td", { class: "rank" }, rank, tie(row, by), moved(row, by, rank));
}

function tie(row, metric) {
  const group = row.groups[metric] ?? null;
  return el("span", { class: "tie" }, group === null ? "" : [unseen(" tie group "), letters(group)]);
}

/** How far the row moved from the board before, after a switch of the protocol. */
function moved(row, by, rank) {
  const before = switchedFrom?.rows.find((other) => keyOf(other) === keyOf(row))?.ranks[by] ?? null;
  if (before === null || before === rank) return null;
  const up = before > rank;
  const words = ` ${up ? "up" : "down"} ${Math.abs(before - rank)} from ${switchedFrom.protocol}`;
  return el(
    "span",
    { class: up ? "moved up" : "moved down", title: words },
    el("span", { "aria-hidden": "true" }, `${up ? "▲" : "▼"}${Math.abs(before - rank)}`),
    unseen(words),
  );
}

function named(row) {
  const known = Object.hasOwn(data.methods, row.method);
  return el(
    "th",
    { scope: "row", class: "name" },
    known ? el("a", { href: methodAddress(row.method, row.entry) }, row.title) : row.title,
    el("span", { class: "family" }, row.control ? "control" : row.family),
  );
}

function measured(row, metric, scales) {
  const value = row.values[metric] ?? null;
  if (value === null) return el("td", { class: "measure" }, unseen("no value"));
  const interval = row.intervals[metric] ?? null;
  const first = row.ranks[metric] === 1 ? "best" : "";
  return el(
    "td",
    { class: `measure ${first}`, title: interval && `95 % interval ${range(...interval)}` },
    el("span", { class: "amount" }, shown(value, metric)),
    el(
      "span",
      { class: "order" },
      unseen(row.ranks[metric] ? " rank " : ""),
      row.ranks[metric] ?? "",
      tie(row, metric),
    ),
    interval && bar(value, interval, scales.get(metric)),
  );
}

function bar(value, [low, high], x) {
  return [
    svg(
      "svg",
      { class: "bar", viewBox: "0 0 64 12", "aria-hidden": "true" },
      svg("line", { class: "room", x1: 0, x2: 64, y1: 6, y2: 6 }),
      svg("rect", { x: x(low), y: 3.5, width: Math.max(1, x(high) - x(low)), height: 5 }),
      svg("line", { class: "point", x1: x(value), x2: x(value), y1: 0.5, y2: 11.5 }),
    ),
    unseen(` interval ${range(low, high)}`),
  ];
}

/** One scale a metric for all bars of the board, whatever rows are shown. */
function scalesOf(board) {
  const spans = (metric) =>
    board.rows
      .flatMap((row) => [row.values[metric], ...(row.intervals[metric] ?? [])])
      .filter((value) => typeof value === "number");
  const fitted = (found) => scale(found.length ? [Math.min(...found), Math.max(...found)] : [0, 1], [1, 63]);
  return new Map(board.metrics.map((metric) => [metric, fitted(spans(metric))]));
}

function listening(row) {
  if (!row.listens) return el("td", { class: "listens" });
  const { verdict, drop, low, high } = row.listens;
  const sure = low === null || low === undefined ? "" : `${range(low, high)} points lost`;
  return el(
    "td",
    { class: `listens ${verdict}`, title: sure },
    el("span", { "aria-hidden": "true", class: "glyph" }, VERDICTS[verdict] ?? ""),
    ` ${verdict} `,
    drop === null || drop === undefined
      ? null
      : el("span", { class: "drop" }, minus(percent(drop))),
  );
}

function heading(column, current, sort) {
  const way = current ? (sort.downwards ? "descending" : "ascending") : null;
  return el(
    "th",
    { scope: "col", class: column.kind, "aria-sort": way },
    el(
      "button",
      {
        type: "button",
        id: `sort-${column.key}`,
        class: "sort",
        title: column.about || null,
        onclick: () => turnSort(column, current, sort),
      },
      column.label,
      el("span", { class: "arrow", "aria-hidden": "true" }, current ? (sort.downwards ? "▾" : "▴") : ""),
    ),
  );
}

const keyOf = (row) => `${row.method}/${row.variant}/${row.title}`;

function boardTable(board, rows, { by, columns, sort }) {
  const scales = scalesOf(board);
  const line = (row) => {
    const group = row.groups[by] ?? null;
    const kind = [row.control ? "control" : "", group !== null && group % 2 === 0 ? "band" : ""]
      .filter(Boolean)
      .join(" ");
    return el(
      "tr",
      { class: kind || null, "data-row": keyOf(row) },
      columns.map((column) => column.cell(row, scales)),
    );
  };
  return el(
    "table",
    { class: "board" },
    el(
      "caption",
      { class: "unseen" },
      `${titleOf(board.split)}, protocol ${board.protocol}: ${plural(rows.length, "row")}`,
    ),
    el(
      "thead",
      {},
      el(
        "tr",
        {},
        columns.map((column) => heading(column, column.key === sort.key, sort)),
      ),
    ),
    el("tbody", {}, rows.map(line)),
  );
}
