// Start: unpack the data, then show what the address names, each time it changes.

const data = JSON.parse(await unpack(document.getElementById("data").textContent.trim()));
const main = document.getElementById("main");
const status = document.getElementById("status");
const calm = matchMedia("(prefers-reduced-motion: reduce)");

const PAGES = {
  "": ["Leaderboard", boardPage],
  moves: ["Moves", movesPage],
  gallery: ["Gallery", galleryPage],
  published: ["Published", publishedPage],
  method: ["", methodPage],
};
const THEMES = ["auto", "light", "dark"];

const say = (text) => {
  status.textContent = text;
};

function lostPage() {
  return [
    el("h1", { tabindex: "-1" }, "Nothing here"),
    el("p", {}, el("a", { href: boardAddress() }, "To the leaderboard")),
  ];
}

function theme() {
  return THEMES.includes(here.query.get("theme")) ? here.query.get("theme") : "auto";
}

function dress() {
  if (theme() === "auto") document.documentElement.removeAttribute("data-theme");
  else document.documentElement.dataset.theme = theme();
  const next = THEMES[(THEMES.indexOf(theme()) + 1) % THEMES.length];
  const button = document.getElementById("theme");
  button.hidden = false;
  button.textContent = `Theme: ${theme()}`;
  button.onclick = () => turn({ theme: next === "auto" ? null : next });
}

function navigation() {
  const link = ([path, [title]]) => {
    const current = (here.path[0] ?? "") === path;
    return el("a", { href: path ? address([path]) : boardAddress(), "aria-current": current ? "page" : null }, title);
  };
  const nav = document.getElementById("nav");
  nav.hidden = false;
  nav.replaceChildren(
    ...Object.entries(PAGES)
      .filter(([, [title]]) => title)
      .map(link),
  );
  document.getElementById("home").href = address([]);
}

/** Rows slide from where they were to where they are. */
function slide(tops) {
  if (calm.matches) return;
  for (const row of main.querySelectorAll("tr[data-row]")) {
    const before = tops.get(row.dataset.row);
    const way = before === undefined ? 0 : before - row.offsetTop;
    if (way)
      row.animate([{ transform: `translateY(${way}px)` }, { transform: "none" }], {
        duration: 260,
        easing: "ease-out",
      });
  }
}

function remembered() {
  const active = document.activeElement;
  return {
    id: main.contains(active) ? active.id : "",
    caret: active?.type === "search" ? active.selectionStart : null,
    across: [...main.querySelectorAll(".scroll[id]")].map((box) => [box.id, box.scrollLeft]),
    tops: new Map([...main.querySelectorAll("tr[data-row]")].map((row) => [row.dataset.row, row.offsetTop])),
    open: main.querySelector("details.how")?.open,
  };
}

function restore({ id, caret, across, tops, open }) {
  const focused = id && document.getElementById(id);
  if (focused) focused.focus({ preventScroll: true });
  if (focused && caret !== null) focused.setSelectionRange(caret, caret);
  for (const [box, left] of across) document.getElementById(box)?.scrollTo(left, 0);
  if (open) main.querySelector("details.how")?.setAttribute("open", "");
  slide(tops);
}

function show() {
  const before = here.path.join("/");
  readAddress();
  close();
  dress();
  const [title, page] = Object.hasOwn(PAGES, here.path[0] ?? "") ? PAGES[here.path[0] ?? ""] : ["", lostPage];
  const state = remembered();
  navigation();
  say("");
  main.replaceChildren(...page().flat(Infinity).filter(Boolean));
  document.title = `${title || here.path.at(-1)} · ${data.title}`;
  if (here.path.join("/") === before) return restore(state);
  scrollTo(0, 0);
  main.querySelector("h1").focus({ preventScroll: true });
}

document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
addEventListener("hashchange", show);
readAddress();
show();
document.documentElement.dataset.ready = "";
