"use strict";
// A table: sorted by a click, filtered, kept in the address, saved as it is shown. Without it the table stands as it is.
(() => {
  const table = document.getElementById("board");
  const form = document.querySelector("form.controls");
  if (!table || !form) return;
  const data = JSON.parse(document.getElementById("data").textContent);
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const rows = [...body.rows].map((element, place) => ({ element, place, values: data.rows[place], searched: data.searched[place].toLowerCase(), order: { ...data.rows[place], ...data.order[place] } }));
  const filters = [...form.querySelectorAll("select")].map((select) => select.name);
  let sort = null;
  let down = false;

  for (const name of filters)
    for (const value of [...new Set(rows.map((row) => row.values[name]))].sort())
      form.elements[name].add(new Option(value, value));

  const matches = (row) =>
    filters.every((name) => !form.elements[name].value || row.values[name] === form.elements[name].value) &&
    row.searched.includes(form.elements.q.value.toLowerCase());

  const before = (one, other) => {
    if (sort === null) return one.place - other.place;
    const [a, b] = [one.order[sort], other.order[sort]];
    const absent = (value) => value === "n/a";
    if (absent(a) || absent(b)) return absent(a) - absent(b) || one.place - other.place;
    const order = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en");
    return (down ? -order : order) || one.place - other.place;
  };

  const shown = () => rows.filter(matches).sort(before);

  function show() {
    const kept = shown();
    body.replaceChildren(...kept.map((row) => row.element));
    for (const head of heads) {
      if (head.dataset.key === sort) head.setAttribute("aria-sort", down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    }
    form.querySelector("output").textContent = `${kept.length} of ${rows.length} rows`;
  }

  function remember() {
    const said = new URLSearchParams(location.hash.slice(1));
    const own = { sort: sort === null ? "" : down ? `-${sort}` : sort };
    for (const name of ["q", ...filters]) own[name] = form.elements[name].value;
    for (const [name, value] of Object.entries(own)) value ? said.set(name, value) : said.delete(name);
    const state = said.toString();
    history.replaceState(null, "", state ? `#${state}` : location.pathname + location.search);
    show();
  }

  function recall() {
    const said = new URLSearchParams(location.hash.slice(1));
    const asked = said.get("sort") || "";
    down = asked.startsWith("-");
    sort = data.columns.includes(asked.replace(/^-/, "")) ? asked.replace(/^-/, "") : null;
    for (const name of ["q", ...filters]) form.elements[name].value = said.get(name) || "";
    show();
  }

  const quoted = (value) => `"${String(value).replaceAll('"', '""')}"`;
  const forms = {
    csv: () => ["text/csv", [data.columns, ...shown().map((row) => data.columns.map((key) => row.values[key]))]
      .map((line) => line.map(quoted).join(",")).join("\r\n") + "\r\n"],
    json: () => ["application/json", JSON.stringify(shown().map((row) => row.values), null, 1) + "\n"],
  };

  function save(kind) {
    const [type, text] = forms[kind]();
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type }));
    link.download = `${data.name.replaceAll(/[^A-Za-z0-9._=-]+/g, "-")}.${kind}`;
    link.click();
    URL.revokeObjectURL(link.href);
  }

  for (const head of heads)
    head.querySelector("button").addEventListener("click", () => {
      const numbers = rows.some((row) => typeof row.values[head.dataset.key] === "number");
      down = sort === head.dataset.key ? !down : numbers;
      sort = head.dataset.key;
      remember();
    });
  form.addEventListener("input", remember);
  form.addEventListener("submit", (event) => event.preventDefault());
  for (const button of form.querySelectorAll("[data-save]"))
    button.addEventListener("click", () => save(button.dataset.save));
  addEventListener("hashchange", recall);
  form.hidden = false;
  recall();
})();
