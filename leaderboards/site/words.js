// How values are written.

const SELECTIONS = {
  last: "last epoch",
  validation: "best on validation",
  oracle: "best on the test set (oracle)",
  unknown: "unknown",
  none: "untrained",
  "": "untrained",
};
const BADGES = {
  verified: "re-run from weights",
  submitted: "accepted with per-sample values, not re-run",
  paper: "copied from a paper",
  local: "from a runs folder, accepted by nobody",
};
const VERDICTS = { yes: "●", unclear: "◐", no: "○" };

/** A fraction in percent; what ends in a 5 but for the last bit is rounded up. */
const percent = (value, decimals = 1) => (100 * value + 1e-9).toFixed(decimals);
const minus = (text) => text.replace("-", "−");
const shown = (value, metric) => percent(value, data.metrics[metric]?.decimals ?? 2);
const range = (low, high) => `${minus(percent(low))} to ${minus(percent(high))}`;
const displayed = (metric) => data.metrics[metric]?.display ?? metric;
const higherWins = (metric) => data.metrics[metric]?.direction !== "lower";
const titleOf = (split) => data.splits[split]?.title ?? split;
const shortSelection = (selection) => (selection === "none" || selection === "" ? "–" : selection);

/** 1 is a, 26 is z, 27 is aa. */
function letters(number) {
  let text = "";
  for (let left = number; left > 0; left = Math.floor((left - 1) / 26)) {
    text = String.fromCharCode(97 + ((left - 1) % 26)) + text;
  }
  return text;
}

function count(number) {
  if (number >= 1e6) return `${(number / 1e6).toFixed(1)} M`;
  return number >= 1e3 ? `${(number / 1e3).toFixed(1)} k` : String(number);
}

const grouped = (number) => String(number).replace(/\B(?=(\d{3})+$)/g, ",");
const plural = (number, word) => `${grouped(number)} ${word}${number === 1 ? "" : "s"}`;
