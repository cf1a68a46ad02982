"use strict";
// Figures: what is under the pointer is read out beside it, and everything of another variant or method steps back.
(() => {
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  document.body.append(tip);

  const series = (mark) => /(?:variant|name): ([^;]+)/.exec(mark.getAttribute("aria-label"))?.[1];

  function show(mark, event) {
    tip.replaceChildren(...mark.getAttribute("aria-label").split("; ").map((part) => {
      const line = document.createElement("div");
      line.textContent = part;
      return line;
    }));
    tip.hidden = false;
    const room = document.documentElement.clientWidth - tip.offsetWidth - 8;
    tip.style.left = `${Math.max(0, Math.min(event.clientX + 12, room)) + scrollX}px`;
    tip.style.top = `${event.clientY + 14 + scrollY}px`;
  }

  for (const figure of document.querySelectorAll("figure svg")) {
    const marks = [...figure.querySelectorAll("[role=graphics-symbol][aria-label]")].filter(series);
    const highlight = (own) => {
      for (const mark of marks) mark.classList.toggle("dim", own !== undefined && series(mark) !== own);
    };
    figure.addEventListener("pointermove", (event) => {
      const mark = event.target.closest("[role=graphics-symbol][aria-label]");
      if (!marks.includes(mark)) return leave();
      highlight(series(mark));
      show(mark, event);
    });
    const leave = () => {
      highlight(undefined);
      tip.hidden = true;
    };
    figure.addEventListener("pointerleave", leave);
  }
})();
