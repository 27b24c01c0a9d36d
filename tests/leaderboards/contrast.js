// Contrast, as WCAG 2 has it, of every text and every drawn mark with what stands behind it.
() => {
  const channels = (text) => text.match(/[\d.]+/g).map(Number);
  const linear = (channel) => (channel <= 0.04045 ? channel / 12.92 : ((channel + 0.055) / 1.055) ** 2.4);
  const light = (text) => {
    const [red, green, blue] = channels(text).map((channel) => linear(channel / 255));
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const ratio = (one, other) => {
    const [high, low] = [light(one), light(other)].sort((a, b) => b - a);
    return (high + 0.05) / (low + 0.05);
  };
  const behind = (node) => {
    const color = getComputedStyle(node).backgroundColor;
    return channels(color)[3] === 0 ? behind(node.parentElement) : color;
  };
  const hidden = ".unseen, script, style, option, title";
  const texts = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const node = walk.currentNode.parentElement;
    if (!walk.currentNode.data.trim() || !node.checkVisibility() || node.closest(hidden)) continue;
    const style = getComputedStyle(node);
    const color = node instanceof SVGElement ? style.fill : style.color;
    texts.push([ratio(color, behind(node)), node.outerHTML.slice(0, 120)]);
  }
  const marks = [
    [".series:not(.behind)", "color"],
    [".track", "color"],
    [".bar rect", "fill"],
    [".bar .point", "stroke"],
    [".rod", "fill"],
    [".whisker", "stroke"],
    ["select", "borderTopColor"],
  ];
  const measure = ([selector, property]) =>
    [...document.querySelectorAll(selector)].map((node) => [
      ratio(getComputedStyle(node)[property], behind(node)),
      selector,
    ]);
  return { texts, drawn: marks.flatMap(measure) };
}
