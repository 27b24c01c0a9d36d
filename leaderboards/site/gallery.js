// Samples with the maps of all methods side by side; what is pointed at, focused or tapped is shown large.

let enlarged = null;
let pointer = "";
let dismissed = ""; // where the pointer rested at Escape: what comes to lie under it there was not pointed at

const spot = (event) => `${event.clientX} ${event.clientY}`;

function outlines(boxes) {
  const edges = (kind) =>
    boxes.map(([left, top, right, bottom]) =>
      svg("rect", {
        class: kind,
        x: left * 100,
        y: top * 100,
        width: (right - left) * 100,
        height: (bottom - top) * 100,
      }),
    );
  return svg(
    "svg",
    { class: "boxes", viewBox: "0 0 100 100", preserveAspectRatio: "none", "aria-hidden": "true" },
    edges("edge"),
    edges("dash"),
  );
}

/** The sample, a map over it (opaque or see-through), and the true boxes on top. */
function stack(sample, map) {
  return el(
    "span",
    { class: "stack" },
    picture(sample.image, { alt: "", loading: "lazy" }),
    map && picture(map.uri, { alt: "", class: "over", loading: "lazy" }),
    outlines(sample.boxes),
  );
}

const score = (map) => (map.ciou === null ? "" : percent(map.ciou));

function tile(sample, map) {
  const title = map ? map.title : "truth";
  const words = map
    ? `${map.title}: cIoU ${score(map)} %`
    : `the sample with ${plural(sample.boxes.length, "true box").replace("boxs", "boxes")}`;
  const button = el(
    "button",
    { type: "button", class: "tile", "aria-label": `Enlarge ${words}`, "aria-expanded": "false" },
    stack(sample, map),
    el(
      "span",
      { class: "under" },
      el("span", { class: "who" }, title),
      map && el("span", { class: "score" }, score(map)),
    ),
  );
  const open = () => enlarge(button, sample, map);
  button.addEventListener(
    "pointerenter",
    (event) => event.pointerType === "mouse" && spot(event) !== dismissed && open(),
  );
  button.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && closeSoon());
  button.addEventListener("focus", open);
  button.addEventListener("blur", close);
  button.addEventListener("click", open);
  return el("li", {}, button);
}

function enlarge(button, sample, map) {
  if (enlarged?.button === button) {
    clearTimeout(enlarged.timer);
    return;
  }
  close();
  const box = button.getBoundingClientRect();
  const side = box.left + box.width / 2 > innerWidth / 2 ? "left" : "right";
  const panel = el(
    "aside",
    { class: `zoom ${side}`, id: "zoom", "aria-label": "Enlarged" },
    stack(sample, map),
    el(
      "p",
      {},
      el("strong", {}, map ? map.title : "truth"),
      map ? ` cIoU ${score(map)} %` : "",
      el("br"),
      el("span", { class: "soft" }, `${sample.label}, ${sample.size} · `, el("code", {}, sample.id)),
    ),
  );
  panel.addEventListener("pointerenter", () => clearTimeout(enlarged?.timer));
  panel.addEventListener("pointerleave", closeSoon);
  button.setAttribute("aria-expanded", "true");
  document.body.append(panel);
  enlarged = { button, panel, timer: 0 };
}

function close() {
  if (!enlarged) return;
  clearTimeout(enlarged.timer);
  enlarged.button.setAttribute("aria-expanded", "false");
  enlarged.panel.remove();
  enlarged = null;
}

/** Late enough that the pointer can reach the picture. */
function closeSoon() {
  if (enlarged) enlarged.timer = setTimeout(close, 150);
}

document.addEventListener("pointermove", (event) => {
  pointer = spot(event);
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  dismissed = pointer;
  close();
});

function sampleBlock(sample, heading, maps) {
  return el(
    "section",
    { class: "sample" },
    el(heading, {}, sample.label, el("span", { class: "soft" }, ` ${sample.size} · `, el("code", {}, sample.id))),
    el(
      "ul",
      { class: "tiles" },
      tile(sample, null),
      maps.map((map) => tile(sample, map)),
    ),
  );
}

function galleryPage() {
  const title = el("h1", { tabindex: "-1" }, "Gallery");
  if (!data.gallery) return [title, el("p", {}, "This page was built without the gallery.")];
  const { split, about, samples } = data.gallery;
  return [
    title,
    el("p", { class: "lede" }, `${titleOf(split)}: ${about}`),
    el(
      "p",
      { class: "note" },
      "Dashed: the true boxes. Beneath each map its method and cIoU in percent. Point at a picture, tap it or move to it with Tab ",
      "to enlarge it; Escape closes.",
    ),
    samples.map((sample) => sampleBlock(sample, "h2", sample.maps)),
  ];
}

/** The samples with the map of one method first, then those of all others; nothing where it has none. */
function galleryOf(name) {
  const samples = (data.gallery?.samples ?? []).filter((sample) => sample.maps.some((map) => map.method === name));
  if (samples.length === 0) return null;
  const ordered = (maps) => [...maps].sort((one, other) => (other.method === name) - (one.method === name));
  return el(
    "section",
    {},
    el("h2", {}, `Gallery, ${titleOf(data.gallery.split)}`),
    el("p", { class: "note" }, `The maps of ${name} stand first. ${data.gallery.about}`),
    samples.map((sample) => sampleBlock(sample, "h3", ordered(sample.maps))),
  );
}
