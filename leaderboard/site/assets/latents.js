"use strict";
// One latent on every variant, side by side: what it is said to be, its scores, and where it fires. The address keeps it.
(() => {
  const told = window.nullgapLatents;
  const section = document.getElementById("compare");
  if (!told || !section) return;
  const LEVELS = 9;

  const made = (name, text, kind) => {
    const element = document.createElement(name);
    if (text !== undefined) element.textContent = text;
    if (kind) element.className = kind;
    return element;
  };

  function context([shown, active], strongest) {
    const line = made("p", undefined, "context");
    const values = new Map();
    for (let place = 0; place < active.length; place += 2) values.set(active[place], active[place + 1]);
    told.windows[shown].forEach((token, place) => {
      const word = made("span", told.tokens[token].replaceAll("\n", "⏎"));
      if (values.has(place)) {
        word.className = `fires level${Math.max(1, Math.ceil((values.get(place) / strongest) * LEVELS))}`;
        word.title = `${values.get(place)}`;
      }
      line.append(word);
    });
    return line;
  }

  function facts(side) {
    const list = made("dl", undefined, "facts");
    const add = (name, value, says) => {
      const term = made("dt", name);
      if (says) term.title = says;
      list.append(term, made("dd", value));
    };
    add("fires on", side.rate === null ? "n/a" : `${(100 * side.rate).toPrecision(3)} % of tokens`);
    for (const [said, match, unit, value] of side.matches) add(`${said} told best`, `${match}, ${unit} ${value.toFixed(2)}`);
    side.scores.forEach((score, number) => {
      if (score !== null) add(told.metrics[number][0], `${score}`, told.metrics[number][1]);
    });
    return list;
  }

  function card(variant, side) {
    const article = made("article");
    article.append(made("h3", variant));
    if (side === null) {
      article.append(made("p", "Not drawn there: it never fires, or others came before it.", "why"));
      return article;
    }
    const scored = told.first.map((name) => [name, side.scores[told.metrics.findIndex(([metric]) => metric === name)]]);
    article.append(made("p", scored.map(([name, score]) => `${name} ${score === null ? "n/a" : score.toFixed(2)}`).join(" · "), "why"));
    if (side.explanation) article.append(made("p", side.explanation, "explanation"));
    const strongest = Math.max(...side.contexts.map(([, active]) => Math.max(...active.filter((_, place) => place % 2))));
    article.append(...side.contexts.map((one) => context(one, strongest)));
    const more = made("details");
    more.append(made("summary", "rate, concepts, all scores"), facts(side));
    more.open = side.contexts.length === 0;
    article.append(more);
    return article;
  }

  function show() {
    const asked = new URLSearchParams(location.hash.slice(1)).get("latent");
    const number = told.latents.indexOf(Number(asked));
    for (const link of document.querySelectorAll("#board tbody a")) link.closest("tr").classList.toggle("chosen", link.textContent === asked);
    section.hidden = asked === null || number < 0;
    if (section.hidden) return;
    const cards = made("div", undefined, "cards");
    cards.append(...told.variants.map((variant, place) => card(variant, told.sides[number][place])));
    const legend = made("p", "Outlined tokens are those on which it fires; the stronger the colour, the more.", "why");
    const title = made("h2", `Latent ${asked}`);
    title.tabIndex = -1;
    section.replaceChildren(title, legend, cards);
  }

  document.querySelector("#board tbody").addEventListener("click", (event) => {
    const link = event.target.closest("a");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    const state = new URLSearchParams(location.hash.slice(1));
    state.set("latent", link.textContent);
    history.pushState(null, "", `#${state}`);
    show();
    section.scrollIntoView({ block: "start" });
    section.querySelector("h2").focus({ preventScroll: true });
  });
  addEventListener("hashchange", show);
  addEventListener("popstate", show);
  show();
})();
