// The papers' own tables, kept apart from what was measured here.

const TABLE_PARTS = new Set([
  "TABLE",
  "CAPTION",
  "THEAD",
  "TBODY",
  "TFOOT",
  "TR",
  "TH",
  "TD",
  "B",
  "STRONG",
  "U",
  "I",
  "EM",
  "SUP",
  "SUB",
  "SPAN",
  "SMALL",
  "BR",
  "P",
  "CODE",
  "OL",
  "UL",
  "LI",
]);
const TABLE_ATTRIBUTES = ["colspan", "rowspan", "scope", "class"];

/** A copy of the parts of a table and their text; any other element gives its text alone. */
function copied(node) {
  if (node.nodeType === Node.TEXT_NODE) return document.createTextNode(node.data);
  if (node.nodeType !== Node.ELEMENT_NODE) return "";
  const children = [...node.childNodes].map(copied);
  if (!TABLE_PARTS.has(node.tagName)) return children;
  const kept = TABLE_ATTRIBUTES.filter((name) => node.hasAttribute(name)).map((name) => [
    name,
    node.getAttribute(name),
  ]);
  return el(node.tagName.toLowerCase(), Object.fromEntries(kept), children);
}

function tableFrom(html) {
  const quiet = html.replace(/\s(?:style|on\w+)\s*=\s*(?:"[^"]*"|'[^']*')/gi, ""); // the page's policy would report them
  const found = new DOMParser().parseFromString(quiet, "text/html");
  return [...found.body.childNodes].map(copied);
}

function publishedPage() {
  const title = el("h1", { tabindex: "-1" }, "Tables as published");
  if (data.published.length === 0) return [title, el("p", {}, "This page was built without the papers' tables.")];
  const { options, chosen, item } = narrow(data.published, ["id"]);
  return [
    title,
    el(
      "p",
      { class: "lede" },
      "Numbers copied from the papers, each measured in its own way. They enter no ranking here.",
    ),
    el(
      "form",
      { class: "controls", "aria-label": "Which table", onsubmit: (event) => event.preventDefault() },
      select(
        "Table",
        "id",
        options.id.map((id) => [id, `${id}: ${data.published.find((one) => one.id === id).title}`]),
        chosen.id,
        (id) => turn({ id }),
      ),
    ),
    el("h2", {}, item.title),
    el("p", { class: "note" }, maybeLink(item.paper)),
    scrollBox("published-box", item.title, el("div", { class: "foreign" }, tableFrom(item.html))),
  ];
}
