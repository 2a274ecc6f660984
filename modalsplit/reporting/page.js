
"use strict";
(() => {
  const content = JSON.parse(document.getElementById("content").textContent);
  const main = document.getElementById("main");
  const heading = document.title;
  const STEP = 60; // items shown before the reader asks for more
  const state = { query: "", shown: STEP };

  // Every text goes through textContent or an attribute: nothing of the data is ever read as HTML.
  function make(tag, attributes, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) element.setAttribute(name, value);
    for (const child of children) if (child !== null) element.append(child);
    return element;
  }

  const hasPictures = content.items.some((item) => item.picture);

  function picture(item) {
    if (!hasPictures) return null; // a catalogue of texts needs no frames
    if (!item.picture) return make("span", { class: "picture nothing", "aria-hidden": "true" }, "no picture");
    return make("img", { class: "picture", src: item.picture, alt: "" }); // the title stands beside it
  }

  const spelt = (name) => name.replaceAll("_", " ");
  const kind = (name) => (name.includes("common") ? "common" : name.includes("specific") ? "specific" : "");
  const counted = (n, word) => `${n.toLocaleString("en")} ${word}${n === 1 ? "" : "s"}`;

  // Items ---------------------------------------------------------------------------------------------

  const words = content.items.map((item) =>
    [item.title, item.id, ...item.texts.map((pair) => pair[1])].join(" ").toLowerCase()
  );

  function found() {
    const wanted = state.query.toLowerCase().split(/\s+/).filter(Boolean);
    return content.items.map((_, i) => i).filter((i) => wanted.every((word) => words[i].includes(word)));
  }

  function card(i) {
    const item = content.items[i];
    return make("li", {}, make("a", { href: `#/item/${i}` }, picture(item), make("span", { dir: "auto" }, item.title)));
  }

  function showItems() {
    const search = make("input", { type: "search", id: "search", autocomplete: "off", spellcheck: "false" });
    search.value = state.query;
    const status = make("p", { class: "quiet", role: "status" });
    const grid = make("ul", { class: "grid" });
    const more = make("button", { type: "button" }, "Show more");

    function list() {
      const all = found();
      status.textContent = state.query ? `${counted(all.length, "item")} found` : counted(all.length, "item");
      grid.replaceChildren(...all.slice(0, state.shown).map(card));
      more.hidden = all.length <= state.shown;
    }
    search.addEventListener("input", () => {
      state.query = search.value;
      state.shown = STEP;
      list();
    });
    more.addEventListener("click", () => {
      const first = state.shown;
      state.shown += STEP;
      list();
      grid.children[first].firstChild.focus(); // or a keyboard user starts again at the top
    });
    list();
    return ["Items", make("div", {}, make("label", { for: "search" }, "Search in titles, texts and ids"), search), status, grid, more];
  }

  function showItem(i) {
    const item = content.items[i];
    const facts = make("dl", { class: "facts" });
    for (const [name, text] of item.texts) facts.append(make("dt", {}, spelt(name)), make("dd", { dir: "auto" }, text));
    const about = [`Id ${item.id}`];
    if (content.n_users) about.push(`taken by ${counted(item.taken, "user")}`);
    const parts = content.parts.map((name, part) => {
      const near = item.near[part];
      const id = `part-${part}`;
      return make("section", { class: kind(name), "aria-labelledby": id },
        make("h2", { id }, name === "common" ? "Alike in what the modalities share" : `Alike in what is specific to ${spelt(name.replace(/ specific$/, ""))}`),
        near.length
          ? make("ol", { class: "rows" }, ...near.map(([j, cosine]) => row(j, `cosine ${cosine.toFixed(2)}`)))
          : make("p", { class: "quiet" }, "The item lacks this part, or the part is empty.")
      );
    });
    return [item.title,
      make("div", { class: "item" }, picture(item), make("div", {}, make("p", { class: "quiet", dir: "auto" }, about.join(", ")), facts)),
      make("div", { class: "parts" }, ...parts)];
  }

  function row(i, ...notes) {
    const item = content.items[i];
    return make("li", { class: "row" }, picture(item),
      make("div", {}, make("a", { href: `#/item/${i}`, dir: "auto" }, item.title),
        ...notes.map((note) => (note instanceof Node ? note : make("p", { class: "quiet" }, note)))));
  }

  // Users ---------------------------------------------------------------------------------------------

  function showUser(u) {
    const user = content.users[u];
    const select = make("select", { id: "user" });
    content.users.forEach((one, i) => select.append(make("option", { value: i }, `${one.id} (took ${one.n_taken})`)));
    select.value = u;
    const go = make("button", { type: "button" }, "Show");
    // A button, because arrow keys in a closed select would leave the page at every step.
    go.addEventListener("click", () => { location.hash = `#/user/${select.value}`; });
    const list = user.list.map((entry) => entryRow(entry, ...explained(entry)));
    const taken = user.taken.map((entry) => entryRow(entry));
    const rest = user.n_taken - taken.length;
    return [`User ${user.id}`,
      make("div", {}, make("label", { for: "user" }, "Another user"), make("div", { class: "choice" }, select, go)),
      make("div", { class: "parts" },
        make("section", { "aria-labelledby": "list" }, make("h2", { id: "list" }, "Recommended"),
          make("ol", { class: "rows" }, ...list)),
        make("section", { "aria-labelledby": "taken" }, make("h2", { id: "taken" }, "Took before"),
          taken.length ? make("ul", { class: "rows" }, ...taken) : make("p", { class: "quiet" }, "Nothing that is known."),
          rest > 0 ? make("p", { class: "quiet" }, `and ${counted(rest, "more item")}`) : null))];
  }

  function entryRow(entry, ...notes) {
    if (entry.item !== undefined) return row(entry.item, ...notes);
    return make("li", { class: "row" }, picture({}),
      make("div", {}, make("span", { dir: "auto" }, entry.title), make("p", { class: "quiet" }, "not on this page"), ...notes));
  }

  function explained(entry) {
    const names = { item: "the item itself", bias: "popularity" };
    if (!entry.shares.length) return [make("p", { class: "quiet" }, `score ${entry.score.toFixed(2)}`)];
    const driver = make("p", { class: `quiet driver ${entry.driver ? kind(entry.driver) : ""}` },
      entry.driver ? `Driven by ${spelt(entry.driver)}` : "Driven by none of its parts");
    const usual = entry.shares.reduce((sum, share) => sum + share[2], 0);
    const cell = (tag, scope, text) => make(tag, scope ? { scope } : {}, text);
    const table = make("table", {}, make("thead", {}, make("tr", {}, cell("td", "", ""), cell("th", "col", "this item"), cell("th", "col", "average item"))),
      make("tbody", {}, ...[...entry.shares, ["score", entry.score, usual]].map(([name, value, mean]) =>
        make("tr", {}, cell("th", "row", names[name] || spelt(name)), cell("td", "", value.toFixed(2)), cell("td", "", mean.toFixed(2))))));
    return [driver, make("details", {}, make("summary", {}, `What adds up to ${entry.score.toFixed(2)}`), table)];
  }

  // Which view ----------------------------------------------------------------------------------------

  function view() {
    const [, name, number] = location.hash.match(/^#\/(\w+)(?:\/(\d+))?$/) || [];
    if (name === "item" && number < content.items.length) return ["#/items", showItem(Number(number))];
    if (content.users.length && name === "users") return ["#/users", showUser(0)];
    if (name === "user" && number < content.users.length) return ["#/users", showUser(Number(number))];
    return ["#/items", showItems()];
  }

  function show(isFirst) {
    const [place, [title, ...children]] = view();
    const h1 = make("h1", { tabindex: "-1", dir: "auto" }, title);
    main.replaceChildren(h1, ...children);
    document.title = `${title} – ${heading}`;
    for (const link of document.querySelectorAll("nav a"))
      if (link.getAttribute("href") === place) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    if (isFirst) return;
    scrollTo(0, 0);
    h1.focus({ preventScroll: true }); // tells a screen reader that the view is another
  }

  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault(); // the part after # names a view here, and its change would be told too late for a quick Tab
    main.focus();
  });
  addEventListener("hashchange", () => show(false));
  show(true);
})();
