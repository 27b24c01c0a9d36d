// Where the reader is: everything that can be linked to stands after the # of the address.

const BOARD_KEYS = ["split", "protocol", "badge", "selection", "id"];
const here = { path: [], query: new URLSearchParams() };
let lastBoard = new URLSearchParams();

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function readAddress() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split(/\?(.*)/s);
  here.path = path.split("/").filter(Boolean).map(decoded);
  here.query = new URLSearchParams(query);
  if (here.path.length === 0) lastBoard = new URLSearchParams(here.query);
}

function address(path, entries = []) {
  const query = new URLSearchParams([...entries].filter(([key, value]) => key !== "theme" && value));
  if (here.query.has("theme")) query.set("theme", here.query.get("theme"));
  const tail = query.toString();
  return `#/${path.map(encodeURIComponent).join("/")}${tail ? `?${tail}` : ""}`;
}

const boardAddress = () => address([], lastBoard);
const methodAddress = (method, entry = "") => address(["method", method], [["entry", entry]]);

/** Change what the address says; `quiet` leaves no step for the back button. */
function turn(changes, { quiet = false } = {}) {
  const query = new URLSearchParams(here.query);
  for (const [key, value] of Object.entries(changes)) {
    if (value) query.set(key, value);
    else query.delete(key);
  }
  const tail = query.toString();
  const target = `#/${here.path.map(encodeURIComponent).join("/")}${tail ? `?${tail}` : ""}`;
  if (quiet) location.replace(target);
  else location.hash = target;
}

/** Narrow `items` by the keys in turn: what there is to choose, and what is chosen (the first where nothing asked fits). */
function narrow(items, keys) {
  const options = {};
  const chosen = {};
  let left = items;
  for (const key of keys) {
    options[key] = [...new Set(left.map((item) => item[key]))];
    const asked = here.query.get(key) ?? "";
    chosen[key] = options[key].includes(asked) ? asked : options[key][0];
    left = left.filter((item) => item[key] === chosen[key]);
  }
  return { options, chosen, item: left[0] };
}
