// The first page: one board at a time, with what chooses it, what filters its rows, and how its ranks move.

let switchedFrom = null;
let boardBefore = null;

/** Rows are compared with the board before where nothing but the protocol changed. */
function noteSwitch(board) {
  if (board === boardBefore) return;
  const alike = (key) => boardBefore?.[key] === board[key];
  switchedFrom = ["split", "badge", "selection"].every(alike) && !alike("protocol") ? boardBefore : null;
  boardBefore = board;
}

function sortOf(board) {
  const asked = here.query.get("by");
  const by = board.metrics.includes(asked) ? asked : board.metrics[0];
  const columns = columnsOf(board, by);
  const column =
    columns.find(({ key }) => key === (here.query.get("sort") ?? by)) ?? columns.find(({ key }) => key === by);
  const natural = column.best === "high";
  const turned = here.query.get("dir") === "worst";
  return { by, columns, column, sort: { key: column.key, downwards: natural !== turned, turned } };
}

function turnSort(column, current, sort) {
  const { board } = boardHere();
  const changes = { sort: column.key, dir: current && !sort.turned ? "worst" : null };
  if (board.metrics.includes(column.key)) changes.by = column.key;
  turn(changes);
}

function boardHere() {
  const { options, chosen, item } = narrow(data.boards, BOARD_KEYS);
  return { options, chosen, board: item };
}

function passes(row) {
  const family = here.query.get("family");
  const words = (here.query.get("q") ?? "").toLowerCase().split(/\s+/).filter(Boolean);
  const text = `${row.title} ${row.method} ${row.variant} ${row.family} ${row.selection} ${row.badge}`.toLowerCase();
  return (!family || row.family === family) && words.every((word) => text.includes(word));
}

function chooser({ options, chosen }) {
  const pick = (key) => (value) => turn({ [key]: value });
  const named = (key, name) => options[key].map((value) => [value, name(value)]);
  return el(
    "form",
    { class: "controls", "aria-label": "Which board", onsubmit: (event) => event.preventDefault() },
    select("Split", "split", named("split", titleOf), chosen.split, pick("split")),
    radios("Protocol", "protocol", named("protocol", String), chosen.protocol, pick("protocol")),
    radios(
      "Checkpoint",
      "selection",
      named("selection", (value) => value || "untrained"),
      chosen.selection,
      pick("selection"),
    ),
    radios("Badge", "badge", named("badge", String), chosen.badge, pick("badge")),
    options.id.length > 1 && select("Edition", "id", named("id", String), chosen.id, pick("id")),
  );
}

function filters(board) {
  const families = [...new Set(board.rows.map((row) => row.family))].sort();
  const asked = here.query.get("family");
  const all = families.includes(asked) || !asked ? families : [...families, asked];
  const search = (event) => event.isComposing || turn({ q: event.target.value }, { quiet: true });
  return el(
    "form",
    { class: "filters", role: "search", "aria-label": "Filter the rows", onsubmit: (event) => event.preventDefault() },
    select("Family", "family", [["", "all"], ...all.map((name) => [name, name])], asked ?? "", (value) =>
      turn({ family: value }),
    ),
    el(
      "div",
      { class: "field" },
      el("label", { for: "q" }, "Find"),
      el("input", {
        id: "q",
        type: "search",
        value: here.query.get("q"),
        autocomplete: "off",
        spellcheck: "false",
        oninput: search,
        oncompositionend: search,
      }),
    ),
  );
}

function heads(board) {
  const split = data.splits[board.split];
  const protocol = data.protocols[board.protocol];
  const sounding = board.n_positive === board.n ? "all sounding" : `${grouped(board.n_positive)} sounding`;
  return [
    el("h1", { tabindex: "-1" }, titleOf(board.split)),
    split?.about && el("p", { class: "lede" }, split.about),
    el(
      "p",
      { class: "measured" },
      el("strong", {}, `${board.protocol}, version ${board.version}. `),
      protocol?.about ?? "",
      ` ${plural(board.n, "sample")}, ${sounding}`,
      split ? [", list ", el("code", {}, split.sha256.slice(0, 10))] : "",
      `. Checkpoints: ${SELECTIONS[board.selection] ?? board.selection}. Badge ${board.badge}: ${BADGES[board.badge] ?? ""}.`,
    ),
  ];
}

function legendOfBoard(by) {
  const item = (term, text) => el("div", {}, el("dt", {}, term), el("dd", {}, text));
  return el(
    "details",
    { class: "how" },
    el("summary", {}, "How to read this table"),
    el(
      "dl",
      { class: "facts" },
      item("Rank", `Within this board alone, by ${displayed(by)}; filters hide rows and never change a rank.`),
      item(
        "Letters",
        "Rows that share a letter cannot be told apart on these samples; the shading changes with the letter.",
      ),
      item(
        "Bars",
        "95 % intervals, one scale a column; the upright mark is the value. Point at a cell for the numbers.",
      ),
      item(
        "Controls",
        "Rows in italics see or hear less than a method must. They stand where their value puts them, unranked.",
      ),
      item(
        "Listens?",
        "Whether success falls when the sound is exchanged, by the exchange that costs least: ● yes, ◐ unclear, ○ no.",
      ),
    ),
  );
}

function boardPage() {
  if (data.boards.length === 0)
    return [el("h1", { tabindex: "-1" }, data.title), el("p", {}, "There are no results yet.")];
  const found = boardHere();
  const { board } = found;
  noteSwitch(board);
  const { by, columns, column, sort } = sortOf(board);
  const rows = sorted(board.rows, column, sort.downwards).filter(passes);
  const number =
    rows.length === board.rows.length
      ? plural(rows.length, "row")
      : `${rows.length} of ${plural(board.rows.length, "row")}`;
  say(`${number}, sorted by ${column.label}, ${sort.turned ? "worst" : "best"} first`);
  const [title, lede, measuredSo] = heads(board);
  const move = data.moves.find(
    (one) => one.metric === by && ["split", "selection", "badge"].every((key) => one[key] === board[key]),
  );
  return [
    title,
    lede,
    chooser(found),
    measuredSo,
    el("div", { class: "above" }, filters(board), el("p", { class: "tally" }, number)),
    scrollBox("board-box", "Leaderboard", boardTable(board, rows, { by, columns, sort })),
    rows.length === 0 && el("p", { class: "note" }, "No row fits these filters."),
    board.notes.map((note) => el("p", { class: "note" }, note)),
    legendOfBoard(by),
    move &&
      el(
        "section",
        {},
        el("h2", {}, `The same maps under each protocol, by ${displayed(by)}`),
        bump(move, board.protocol),
      ),
  ];
}
