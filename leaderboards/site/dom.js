// Nodes by hand: every text becomes a text node, so that no name or note is ever read as markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  const wanted = children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);
  node.append(...wanted.map((child) => (child instanceof Node ? child : String(child))));
  return node;
}

const el = (name, attributes = {}, ...children) => fill(document.createElement(name), attributes, children);
const svg = (name, attributes = {}, ...children) => fill(document.createElementNS(SVG, name), attributes, children);
const unseen = (...children) => el("span", { class: "unseen" }, ...children);

/** A link where the text is a web address or a paper on arXiv, else the text. */
function maybeLink(text) {
  const [, paper] = /^arXiv:(\d{4}\.\d{4,5}(?:v\d+)?)$/.exec(text) ?? [];
  if (paper) return link(`https://arxiv.org/abs/${paper}`, text);
  return /^https:\/\//.test(text) ? link(text, text.replace(/^https:\/\//, "")) : text;
}

/** A repository on GitHub, `owner/name` and perhaps what there is to say of it, as a link. */
function repository(text) {
  const [, name, more] = /^([\w.-]+\/[\w.-]+)((?:, .*)?)$/.exec(text) ?? [];
  return name ? [link(`https://github.com/${name}`, name), more] : maybeLink(text);
}

const link = (address, text) => el("a", { href: address, rel: "noreferrer" }, text);

/** An image from the data, which must carry its own bytes. */
function picture(uri, attributes) {
  return el("img", { ...attributes, src: uri.startsWith("data:image/") ? uri : "data:," });
}

async function unpack(base64) {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
}

/** A box of its own for what may be wider than the window, reachable by keyboard. */
function scrollBox(id, label, ...children) {
  return el("div", { class: "scroll", id, tabindex: "0", role: "region", "aria-label": label }, ...children);
}

function plainTable(caption, headings, rows) {
  const head = el(
    "tr",
    {},
    headings.map((text) => el("th", { scope: "col" }, text)),
  );
  const line = ([first, ...rest]) =>
    el(
      "tr",
      {},
      el("th", { scope: "row" }, first),
      rest.map((text) => el("td", {}, text)),
    );
  return el(
    "table",
    { class: "plain" },
    el("caption", {}, caption),
    el("thead", {}, head),
    el("tbody", {}, rows.map(line)),
  );
}

/** Radio buttons that look like a row of words; `choices` are [value, text] pairs. */
function radios(legend, name, choices, chosen, pick) {
  const choice = ([value, text]) =>
    el(
      "label",
      {},
      el("input", {
        type: "radio",
        id: `${name}-${value}`,
        name,
        value,
        checked: value === chosen,
        onchange: () => pick(value),
      }),
      el("span", {}, text),
    );
  return el(
    "fieldset",
    { class: "radios" },
    el("legend", {}, legend),
    el("div", { class: "words" }, choices.map(choice)),
  );
}

function select(label, name, choices, chosen, pick) {
  const options = choices.map(([value, text]) => el("option", { value, selected: value === chosen }, text));
  const box = el("select", { id: name, onchange: (event) => pick(event.target.value) }, options);
  return el("div", { class: "field" }, el("label", { for: name }, label), box);
}
