/* Names for parts of the theme that have none: its search, the buttons on code, tables that scroll. */
(() => {
  document.querySelector(".md-search")?.setAttribute("aria-label", "Search");
  const counts = {};
  const name = (selector, words, attributes = {}) =>
    document.querySelectorAll(`${selector}:not([aria-label])`).forEach((part) => {
      counts[words] = (counts[words] ?? 0) + 1;
      part.setAttribute("aria-label", `${words} ${counts[words]}`);
      for (const [key, value] of Object.entries(attributes)) part.setAttribute(key, value);
    });
  const label = () => {
    name(".md-code__nav", "Code");
    name(".md-typeset__scrollwrap", "Table", { role: "group", tabindex: 0 });
  };
  new MutationObserver(label).observe(document.body, { childList: true, subtree: true });
})();
