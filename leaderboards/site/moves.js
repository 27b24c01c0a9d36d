// How ranks move between protocols, for every split, selection, badge and metric.

const MOVE_KEYS = ["split", "badge", "selection", "metric"];

function movesPage() {
  const title = el("h1", { tabindex: "-1" }, "How ranks move between protocols");
  if (data.moves.length === 0) return [title, el("p", {}, "No split has two methods under two protocols yet.")];
  const { options, chosen, item } = narrow(data.moves, MOVE_KEYS);
  const pick = (key) => (value) => turn({ [key]: value });
  const named = (key, name) => options[key].map((value) => [value, name(value)]);
  return [
    title,
    el(
      "p",
      { class: "lede" },
      "One model, one set of maps: only the way of measuring differs from column to column. ",
      "Circles carry the place, squares are controls without one, and τ compares each order with that of the first ",
      "or the common protocol.",
    ),
    el(
      "form",
      { class: "controls", "aria-label": "Which ranks", onsubmit: (event) => event.preventDefault() },
      select("Split", "split", named("split", titleOf), chosen.split, pick("split")),
      radios("Metric", "metric", named("metric", displayed), chosen.metric, pick("metric")),
      radios(
        "Checkpoint",
        "selection",
        named("selection", (value) => value || "untrained"),
        chosen.selection,
        pick("selection"),
      ),
      radios("Badge", "badge", named("badge", String), chosen.badge, pick("badge")),
    ),
    bump(item),
  ];
}
