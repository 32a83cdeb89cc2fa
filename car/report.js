// What the three pages share: a list of cards of which only those in view are there, the slider, looking closer, charts.
// Names of files are text here and never become markup: elements are made one by one, and the page's policy
// forbids the rest. What differs, report_pictures.js and report_patches.js hand to begin().
"use strict";

const GAP = 12, NARROWEST_CARD = 280, NARROWEST_WITH_TAGS = 140, ROWS_BEYOND = 2, MOST_PRINTED = 1000;
const SVG = "http://www.w3.org/2000/svg";
const at = (id) => document.getElementById(id);

// ---- elements ----------------------------------------------------------------------------

function make(tag, properties = {}, ...children) {
  const { data, aria, css, ...plain } = properties;
  const element = Object.assign(document.createElement(tag), plain);
  for (const [name, value] of Object.entries(aria ?? {})) element.setAttribute(`aria-${name}`, value);
  for (const [name, value] of Object.entries(css ?? {})) element.style.setProperty(name, value);
  element.append(...children);
  return element;
}

function draw(tag, properties, text) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(properties)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

// A name in any script, whichever way it runs, without turning what stands beside it.
const named = (text) => make("bdi", {}, readable(text));

// What no terminal can show is shown as a mark: bytes that are no UTF-8, and control characters.
const readable = (text) => text.replace(/[\uD800-\uDFFF]/gu, "\uFFFD").replace(/[\x00-\x1f\x7f]/g, "\uFFFD");

// ---- the data ----------------------------------------------------------------------------

// The rows of what Python wrote, each as an object by the columns' names, in their order.
function entriesOf(part) {
  return part.rows.map((values) => {
    const entry = { part };
    part.columns.forEach((column, place) => { entry[column] = values[place]; });
    return entry;
  });
}

function ranked(entries) {
  entries.forEach((entry, rank) => { entry.rank = rank; });
  return entries;
}

const collated = new Intl.Collator("en", { numeric: true }).compare;
const byRank = (a, b) => a.rank - b.rank;
const finite = (number) => (Number.isFinite(number) ? number : NaN);

// By a number, those that have none behind all others.
function byNumber(number) {
  return (a, b) => {
    const [one, other] = [number(a), number(b)];
    if (Number.isNaN(one) || Number.isNaN(other)) return Number.isNaN(one) - Number.isNaN(other) || a.rank - b.rank;
    return one - other || a.rank - b.rank;
  };
}

// ---- figures in words --------------------------------------------------------------------

const told = (number, digits) => (Number.isFinite(number) ? number.toFixed(digits) : number === Infinity ? "\u221e" : "");
const signed = (number, digits) => (number >= 0 ? "+" : "\u2212") + Math.abs(number).toFixed(digits);
const counted = (number) => number.toLocaleString("en");

function table(head, rows) {
  const body = rows.map(([name, ...texts]) => make("tr", {}, make("th", { scope: "row" }, name), ...texts.map((text) => make("td", {}, text))));
  return make("table", {}, make("thead", {}, make("tr", {}, ...head.map((text) => make("th", { scope: "col" }, text)))), make("tbody", {}, ...body));
}

const described = (lines) => make("dl", {}, ...lines.flatMap(([name, text]) => [make("dt", {}, name), make("dd", {}, readable(text))]));

// ---- the slider --------------------------------------------------------------------------

// One panel of a picture that holds several: columns beside each other, rows above each other.
function panel(entry, source, { column = 0, columns = 1, row = 0, rows = 1, ratio, label, name = "" }) {
  const shift = `translate(${(-100 * column) / columns}%, ${(-100 * row) / rows}%)`;
  const image = make("img", { loading: "lazy", decoding: "async", draggable: false, alt: `${readable(entry.name)}, ${label}`, css: { width: `${columns * 100}%`, transform: shift } });
  image.addEventListener("error", () => image.closest(".stage, #stage")?.replaceChildren(make("p", {}, "what was drawn of this picture is not there any more")), { once: true });
  image.src = source;
  return make("div", { className: `panel ${name}`, css: { "--ratio": ratio } }, image);
}

function slider(entry, before, after, width, height, [one, other] = ["before", "after"]) {
  const control = make("input", { type: "range", min: 0, max: 100, step: 1, value: 50, aria: { label: `${one[0].toUpperCase()}${one.slice(1)} and ${other} of ${readable(entry.name)}`, valuetext: `50 % ${one}` } });
  const tags = width < NARROWEST_WITH_TAGS ? [] : [["left", one], ["right", other]].map(([side, word]) => make("span", { className: `tag ${side}`, aria: { hidden: true } }, word));
  const frame = make("div", { className: "frame", css: { width: `${width}px`, height: `${height}px` } }, after, before, make("span", { className: "line" }), ...tags, control);
  control.addEventListener("input", () => {
    frame.style.setProperty("--at", `${control.value}%`);
    control.setAttribute("aria-valuetext", `${control.value} % ${one}`);
  });
  return frame;
}

// A row of pixels drawn in one file, the same place in each column, magnified without smoothing. cells: { source, row,
// rows, words: what each column is, size: [width, height] of one, told: a line }.
const sidesOf = (cells, zoom) => ({ width: `${cells.size[0] * zoom}px`, height: `${cells.size[1] * zoom}px` });
const underlined = (word, ...drawn) => make("figure", { className: "pixels" }, ...drawn, make("figcaption", {}, word));

function cell(entry, cells, column, name) {
  const { source, row, rows, words, size } = cells;
  return panel(entry, source, { column, columns: words.length, row, rows, ratio: size[0] / size[1], label: words[column], name });
}

const still = (entry, cells, column, zoom) => underlined(cells.words[column], make("div", { css: sidesOf(cells, zoom) }, cell(entry, cells, column)));

function closeUp(entry, cells, across) {
  const zoom = Math.min(Number(at("zoom").value), across / cells.size[0]), [width, height] = cells.size.map((length) => length * zoom);
  const moving = slider(entry, cell(entry, cells, 0, "before"), cell(entry, cells, 1, "after"), width, height, cells.words);
  const difference = make("div", { className: "difference", css: sidesOf(cells, zoom) }, cell(entry, cells, 0), cell(entry, cells, 1));
  return [underlined(cells.told, moving), underlined("what changed, 8 times as bright: black is nothing", difference), ...cells.words.slice(2).map((_, i) => still(entry, cells, i + 2, zoom))];
}

// ---- the list ----------------------------------------------------------------------------

let page = null; // what differs from page to page: see begin()
const list = { entries: [], shown: [], cards: new Map(), columns: 1, width: 0, stage: 0, height: 0, onPaper: false };

function card(entry, place) {
  const stage = make("div", { className: "stage", css: { height: `${list.stage}px` } }, page.stage(entry, list.width - 2, list.stage));
  const open = make("button", { type: "button", aria: { label: `Look closer at ${readable(entry.name)}` } }, "look closer");
  open.addEventListener("click", () => openViewer(place));
  const text = make("div", { className: "told" }, make("h2", { title: readable(entry.name) }, named(entry.name)), ...page.lines(entry),
    make("div", { className: "links" }, ...(page.opens(entry) ? [open] : []), ...page.links(entry)));
  const element = make("article", { className: `card ${entry.kind.replaceAll(" ", "-")}`, aria: { setsize: list.shown.length, posinset: place + 1 } }, stage, text);
  element.setAttribute("role", "listitem");
  return element;
}

function layOut() {
  const width = at("list").clientWidth, rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
  list.columns = Math.max(1, Math.floor((width + GAP) / (NARROWEST_CARD + GAP)));
  list.width = (width - GAP * (list.columns - 1)) / list.columns;
  list.stage = Math.round(page.stageHeight(list.width - 2, rem));
  list.height = list.stage + Math.round(page.textHeight * rem);
  at("list").style.setProperty("height", `${Math.ceil(list.shown.length / list.columns) * (list.height + GAP)}px`);
  clear();
  render();
}

function clear() {
  at("list").replaceChildren();
  list.cards.clear();
}

// Only cards near the view are there, and the one that has the focus; on paper all, but no more than fit a book.
function render() {
  const all = list.onPaper;
  const top = -at("list").getBoundingClientRect().top, pitch = list.height + GAP;
  const first = all ? 0 : Math.max(0, Math.floor(top / pitch) - ROWS_BEYOND) * list.columns;
  const last = all ? Math.min(list.shown.length, MOST_PRINTED) : Math.min(list.shown.length, (Math.ceil((top + innerHeight) / pitch) + ROWS_BEYOND) * list.columns);
  for (const [place, element] of list.cards) {
    if ((place < first || place >= last) && !element.contains(document.activeElement)) {
      element.remove();
      list.cards.delete(place);
    }
  }
  for (let place = first; place < last; place += 1) {
    if (list.cards.has(place)) continue;
    const element = card(list.shown[place], place), row = Math.floor(place / list.columns), column = place % list.columns;
    element.style.setProperty("width", `${list.width}px`);
    element.style.setProperty("height", `${list.height}px`);
    element.style.setProperty("transform", `translate(${column * (list.width + GAP)}px, ${row * pitch}px)`);
    list.cards.set(place, element);
    const after = [...list.cards].filter(([other]) => other > place).sort(([a], [b]) => a - b)[0];
    at("list").insertBefore(element, after?.[1] ?? null); // in order, for the Tab key and for readers
  }
}

function choose() {
  const words = at("filter").value.trim().toLowerCase(), kind = at("kinds").querySelector("[aria-pressed=true]").value;
  list.shown = list.entries.filter((entry) => (kind === "all" || entry.kind === kind) && entry.name.toLowerCase().includes(words)).sort(page.orders[at("order").value]);
  at("count").textContent = `${counted(list.shown.length)} of ${counted(list.entries.length)} ${page.things}`;
  layOut();
}

// ---- looking closer ----------------------------------------------------------------------

const viewer = { place: 0, view: "" };

function openViewer(place) {
  Object.assign(viewer, { place, view: "" });
  if (!at("viewer").open) at("viewer").showModal();
  drawViewer();
}

function drawViewer() {
  const entry = list.shown[viewer.place], views = page.views(entry);
  const chosen = views.find(({ view }) => view === viewer.view) ?? views[0];
  at("viewer-name").replaceChildren(named(entry.name));
  at("previous").disabled = viewer.place === 0;
  at("next").disabled = viewer.place === list.shown.length - 1;
  at("views").replaceChildren(...(views.length > 1 ? views : []).map(({ view, word }) => {
    const button = make("button", { type: "button", value: view, aria: { pressed: view === chosen.view } }, word);
    button.addEventListener("click", () => { viewer.view = view; drawViewer(); at("views").querySelector(`[value="${view}"]`).focus(); });
    return button;
  }));
  at("zoom-field").hidden = !chosen.zoomed;
  at("zoom-told").textContent = `${at("zoom").value} times`;
  at("stage").replaceChildren(...chosen.look(at("viewer").clientWidth - 26));
  at("facts").replaceChildren(...page.facts(entry));
}

// ---- charts ------------------------------------------------------------------------------

// Of numbers that are finite; without a place given, bars of a round width.
function histogram(title, numbers, [low, step, bars, digits] = barsOf(numbers)) {
  const counts = new Array(bars).fill(0);
  for (const number of numbers) counts[Math.min(bars - 1, Math.max(0, Math.floor((number - low) / step)))] += 1;
  const most = Math.max(...counts), [width, height] = [220, 100], across = width / bars;
  const svg = draw("svg", { viewBox: `0 0 ${width} ${height + 30}`, role: "img" }), words = [];
  counts.forEach((count, bar) => {
    const from = low + bar * step, words_of = `${told(from, digits)} to ${told(from + step, digits)}: ${counted(count)}`;
    if (!count) return;
    words.push(words_of);
    const tall = Math.max(2, (count / most) * (height - 14)), rect = draw("rect", { x: bar * across + 1, y: height - tall, width: across - 2, height: tall });
    rect.append(draw("title", {}, words_of));
    svg.append(rect, draw("text", { x: (bar + 0.5) * across, y: height - tall - 3, "text-anchor": "middle" }, counted(count)));
  });
  svg.append(draw("line", { x1: 0, y1: height, x2: width, y2: height }));
  const every = bars > 6 ? 2 : 1; // else the numbers would touch
  for (let bar = 0; bar <= bars; bar += every) {
    const anchor = bar === 0 ? "start" : bar === bars ? "end" : "middle";
    svg.append(draw("text", { x: bar * across, y: height + 14, "text-anchor": anchor }, told(low + bar * step, digits)));
  }
  svg.setAttribute("aria-label", `${title}. ${words.join("; ")}`);
  return make("figure", { className: "panel-of-summary" }, make("figcaption", {}, title), svg);
}

// Bars of a round width that hold all numbers: at most ten.
function barsOf(numbers) {
  const low = numbers.reduce((a, b) => Math.min(a, b)), high = numbers.reduce((a, b) => Math.max(a, b));
  const least = Math.max((high - low) / 9, 0.01), power = 10 ** Math.floor(Math.log10(least));
  const step = [1, 2, 5, 10].map((times) => times * power).find((width) => width >= least * (1 - 1e-9));
  const from = Math.floor(low / step + 1e-9) * step;
  return [from, step, Math.max(1, Math.floor((high - from) / step + 1e-9) + 1), Math.max(0, Math.ceil(-Math.log10(step) - 1e-9))];
}

const fact = (title, ...children) => make("div", { className: "panel-of-summary" }, make("h2", {}, title), ...children);

// ---- the start ---------------------------------------------------------------------------

// makePage: what Python wrote, in parts -> an object of what differs from page to page:
//   entries, each with a name and a kind; kinds, orders: {word: comparison}; things: what the entries are called
//   lead, unfinished, summary: what stands above the list; the second is empty where the work is at its end
//   summaryFirst: whether the summary is open on a phone too; zoom: at the first
//   stageHeight, textHeight (rem), stage, lines, links, opens: of a card; views, facts: of looking closer
function begin(makePage) {
  const parts = globalThis.carReport ?? [];
  page = makePage(parts);
  list.entries = page.entries;
  at("lead").append(...page.lead);
  const note = parts.length ? page.unfinished : "Nothing is done yet, or the folder report beside this page is missing. Load the page again to see more.";
  at("unfinished").hidden = !note;
  at("unfinished").textContent = note;
  at("summary").append(...page.summary);
  at("overview").open = page.summaryFirst || innerWidth > 600; // on a phone the pictures come first
  for (const name of Object.keys(page.orders)) at("order").append(make("option", { value: name }, name));
  for (const kind of ["all", ...page.kinds]) {
    const many = kind === "all" ? list.entries.length : list.entries.filter((entry) => entry.kind === kind).length;
    const button = make("button", { type: "button", value: kind, aria: { pressed: kind === "all" } }, `${kind} ${counted(many)}`);
    button.addEventListener("click", () => {
      for (const other of at("kinds").querySelectorAll("button")) other.setAttribute("aria-pressed", other === button);
      choose();
    });
    at("kinds").append(button);
  }
  at("tools").addEventListener("submit", (event) => event.preventDefault());
  at("filter").addEventListener("input", choose);
  at("order").addEventListener("change", choose);
  at("zoom").value = page.zoom;
  at("zoom").addEventListener("input", drawViewer);
  at("close").addEventListener("click", () => at("viewer").close());
  at("previous").addEventListener("click", () => openViewer(viewer.place - 1));
  at("next").addEventListener("click", () => openViewer(viewer.place + 1));
  addEventListener("scroll", () => requestAnimationFrame(() => render()), { passive: true });
  at("overview").addEventListener("toggle", () => render());
  addEventListener("resize", () => { layOut(); if (at("viewer").open) drawViewer(); });
  const paper = matchMedia("print"), turn = (isPaper) => {
    list.onPaper = isPaper;
    if (isPaper) at("overview").open = true;
    layOut();
  };
  paper.addEventListener("change", (event) => turn(event.matches));
  addEventListener("beforeprint", () => turn(true));
  addEventListener("afterprint", () => turn(false));
  choose();
}
