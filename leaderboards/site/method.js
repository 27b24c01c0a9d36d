// A page per method: what it is, and per entry how it does, where, on what, and how surely.

const AUDIO = {
  true: "its own sound",
  silent: "silence",
  noise: "noise",
  swapped: "another's sound",
  offscreen: "off-screen sound",
};

function card(method) {
  const yes = (text) => text !== null && text !== undefined && text !== "";
  const size =
    method.parameters &&
    `${count(method.parameters.inference)} at inference, ${count(method.parameters.training)} in training`;
  const known = [
    ["Paper", method.paper],
    ["Official code", method.official && repository(method.official)],
    ["Family", method.family],
    ["Needs", method.needs.join(", ")],
    ["Training labels", method.labels],
    ["Pretrained parts", method.pretrained],
    ["Parameters", size],
  ];
  return el(
    "dl",
    { class: "facts card" },
    [...known, ...method.card]
      .filter(([, text]) => yes(text))
      .map(([term, text]) => el("div", {}, el("dt", {}, term), el("dd", {}, typeof text === "object" ? text : maybeLink(String(text))))),
  );
}

function entryList(name, entries, current) {
  const line = (entry) => {
    const chosen = entry === current;
    return el(
      "tr",
      { class: chosen ? "chosen" : null },
      el(
        "th",
        { scope: "row" },
        el(
          "a",
          { href: methodAddress(name, entry.entry), "aria-current": chosen ? "true" : null },
          titleOf(entry.split),
        ),
      ),
      el("td", {}, shortSelection(entry.selection)),
      el("td", {}, entry.badge),
      el("td", {}, download(entry.entry)),
    );
  };
  return scrollBox(
    "entries-box",
    "Entries",
    el(
      "table",
      { class: "plain entries" },
      el("caption", { class: "unseen" }, "Entries of this method"),
      el(
        "thead",
        {},
        el(
          "tr",
          {},
          ["Split", "Checkpoint", "Badge", "Records"].map((text) => el("th", { scope: "col" }, text)),
        ),
      ),
      el("tbody", {}, entries.map(line)),
    ),
  );
}

function download(entry) {
  const file = data.files[entry];
  if (!file) return "";
  const save = async () => {
    const url = URL.createObjectURL(new Blob([await unpack(file.gzip)], { type: "application/json" }));
    el("a", { href: url, download: file.name }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
  };
  return el(
    "button",
    { type: "button", class: "quiet download", onclick: save, "aria-label": `Download ${file.name}` },
    "Download JSON",
  );
}

/** Other methods' entries of the same split, selection and badge, drawn faintly behind. */
function others(name, entry) {
  const alike = (other) => ["split", "selection", "badge"].every((key) => other[key] === entry[key]);
  return Object.entries(data.pages)
    .filter(([method]) => method !== name)
    .flatMap(([method, page]) => page.entries.filter(alike).map((other) => [method, other]));
}

const pairs = (xs, ys) => xs.map((x, index) => [x, ys[index]]);
const steps = (points, x, y) =>
  plainTable(
    "",
    [x, y],
    points.map(([a, b]) => [a.toFixed(2), percent(b)]),
  );

function successPlot(name, entry) {
  if (!entry.success) return null;
  const behind = others(name, entry)
    .filter(([, other]) => other.success)
    .map(([method, other]) => ({
      kind: "behind",
      name: method,
      points: pairs(other.success.thresholds, other.success.rates),
      marks: false,
    }));
  const points = pairs(entry.success.thresholds, entry.success.rates);
  return chart({
    title: "Success over threshold",
    kind: "success",
    about: behind.length ? "Others of the same board in grey." : "",
    x: [0, 1],
    y: [0, 1],
    xLabel: "cIoU threshold",
    yLabel: "success, %",
    yText: (value) => percent(value, 0),
    words: `Success rate of ${name} at ${points.length} thresholds`,
    series: [...behind, { kind: "hue-0", points }],
    table: steps(points, "threshold", "success %"),
  });
}

function detectionPlot(name, entry) {
  if (!entry.detection) return null;
  const points = pairs(entry.detection.recall, entry.detection.precision);
  return chart({
    title: "Precision and recall",
    kind: "detection",
    about: "Over all confidence thresholds.",
    x: [0, 1],
    y: [0, 1],
    xLabel: "recall, %",
    yLabel: "precision, %",
    xText: (value) => percent(value, 0),
    yText: (value) => percent(value, 0),
    words: `Precision over recall of ${name}`,
    series: [{ kind: "hue-0", points, marks: points.length <= 60 }],
    table: plainTable(
      "",
      ["recall %", "precision %"],
      points.map(([a, b]) => [percent(a), percent(b)]),
    ),
  });
}

function reliabilityPlot(name, entry) {
  if (!entry.reliability) return null;
  const largest = Math.max(...entry.reliability.map(([, , n]) => n));
  const points = entry.reliability.map(([confidence, rate, n]) => [confidence, rate, 3 + 6 * Math.sqrt(n / largest)]);
  const inside = points.every(([confidence]) => confidence >= 0 && confidence <= 1);
  const diagonal = {
    kind: "guide",
    points: [
      [0, 0],
      [1, 1],
    ],
    marks: false,
  };
  return chart({
    title: "Reliability of the confidence",
    kind: "reliability",
    about: "Area of a mark: number of samples.",
    x: inside ? [0, 1] : extent(points.map(([x]) => x)),
    y: [0, 1],
    xLabel: "confidence",
    yLabel: "success, %",
    yText: (value) => percent(value, 0),
    words: `Success rate of ${name} by confidence in ${points.length} bins`,
    series: [...(inside ? [diagonal] : []), { kind: "hue-0", points }],
    table: plainTable(
      "",
      ["confidence", "success %", "samples"],
      entry.reliability.map(([c, r, n]) => [c.toFixed(3), percent(r), n]),
    ),
  });
}

function listeningPlot(name, entry) {
  if (!entry.listening) return null;
  const { rates, drops } = entry.listening;
  const rows = Object.entries(rates).map(([kind, rate]) => [AUDIO[kind] ?? kind, null, rate, null, null]);
  const lost = Object.entries(drops ?? {}).map(([kind, drop]) => {
    const { value, low, high } = typeof drop === "number" ? { value: drop } : drop;
    return `${AUDIO[kind] ?? kind}: ${minus(percent(value))} points lost${low === undefined ? "" : ` (${range(low, high)})`}`;
  });
  return intervalRows({
    title: "With other sounds",
    about: `${lost.join("; ")}.`,
    rows,
    kind: "bars",
    range: [0, Math.max(0.1, ...Object.values(rates)) * 1.05],
    words: `Success rate of ${name} by kind of sound`,
  });
}

function groupPlot(title, rows, name) {
  if (rows.length === 0) return null;
  const about = "cIoU success in percent with 95 % intervals; number of samples on the right.";
  return intervalRows({ title, about, rows, kind: "dots", words: `${title} of ${name}, ${rows.length} rows` });
}

/** Training curves: one plot for each split, purpose and metric, a line for each checkpoint or run. */
function curvePlots(curves) {
  const sets = Map.groupBy(
    curves,
    (curve) => `${titleOf(curve.split)}, ${curve.purpose}`.replace(/, $/, "") + `\n${curve.metric}`,
  );
  return [...sets].map(([key, lines]) => {
    const [place, metric] = key.split("\n");
    const series = lines.map((curve, index) => ({
      kind: `hue-${index % 5} dash-${index % 3}`,
      name: curve.label,
      marker: index % 3,
      points: pairs(curve.epochs, curve.values),
    }));
    const all = series.flatMap((one) => one.points);
    return chart({
      title: `${displayed(metric)} while training`,
      kind: "curve",
      about: place,
      x: extent(
        all.map(([x]) => x),
        0,
      ),
      y: extent(all.map(([, y]) => y)),
      xLabel: "epoch",
      yLabel: `${displayed(metric)}, %`,
      yText: (value) => percent(value, 0),
      words: `${displayed(metric)} over epochs, ${place}`,
      series,
      legend: legend(series.map((one) => [one.name, one.kind])),
      table: plainTable(
        "",
        ["epoch", "run", "%"],
        lines.flatMap((c) => c.epochs.map((epoch, index) => [epoch, c.label, percent(c.values[index], 2)])),
      ),
    });
  });
}

function methodPage() {
  const name = here.path[1];
  const method = Object.hasOwn(data.methods, name ?? "") ? data.methods[name] : null;
  if (!method) return lostPage();
  const { entries, curves } = data.pages[name] ?? { entries: [], curves: [] };
  const entry = entries.find((one) => one.entry === here.query.get("entry")) ?? entries[0];
  const plots = entry && [
    successPlot(name, entry),
    detectionPlot(name, entry),
    reliabilityPlot(name, entry),
    groupPlot("By class", entry.classes, name),
    groupPlot("By size of the source", entry.sizes, name),
    listeningPlot(name, entry),
  ];
  const told = entry && [titleOf(entry.split), SELECTIONS[entry.selection], entry.badge].join(" · ");
  return [
    el("p", { class: "back" }, el("a", { href: boardAddress() }, "← Leaderboard")),
    el("h1", { tabindex: "-1" }, name, method.control && el("span", { class: "family" }, "control")),
    el("p", { class: "lede" }, method.summary),
    el(
      "div",
      { class: "beside" },
      card(method),
      entries.length > 0 && el("section", {}, el("h2", {}, "Entries"), entryList(name, entries, entry)),
    ),
    entry && el("section", {}, el("h2", {}, told), el("div", { class: "plots" }, plots)),
    curves.length > 0 && el("section", {}, el("h2", {}, "Training"), el("div", { class: "plots" }, curvePlots(curves))),
    galleryOf(name),
  ];
}
