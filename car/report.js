// The page of results: what car/report.py wrote, shown. Names of files are text here and never become markup:
// elements are made one by one, and the page's policy forbids the rest.
"use strict";

const SIDE = 96; // of a crop at the most, in pixels: car/thumbnails.py
const GAP = 12, NARROWEST_CARD = 280, ROWS_BEYOND = 2, MOST_PRINTED = 1000;
const KINDS = { all: "all", corrected: "corrected", unchanged: "unchanged", "left out": "left out" };
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

// A name in any script, whichever way it runs, without turning what stands beside it.
const named = (text) => make("bdi", {}, readable(text));

// What no terminal can show is shown as a mark: bytes that are no UTF-8, and control characters.
const readable = (text) => text.replace(/[\uD800-\uDFFF]/gu, "\uFFFD").replace(/[\x00-\x1f\x7f]/g, "\uFFFD");

// ---- the data ----------------------------------------------------------------------------

// The pictures of all parts of the work, each as an object by the columns' names.
function entriesOf(parts) {
  const entries = [];
  for (const part of parts) {
    for (const values of part.rows) {
      const entry = { part };
      part.columns.forEach((column, place) => { entry[column] = values[place]; });
      const found = entry.figures && Object.fromEntries(part.figure_columns.map((name, i) => [name, entry.figures[i]]));
      entry.found = found;
      entry.change = entry.changes?.[0] ?? NaN;
      entry.gain = found ? finite(found.psnr_after - found.psnr_before) : NaN;
      entries.push(entry);
    }
  }
  const compare = new Intl.Collator("en", { numeric: true }).compare;
  entries.sort((a, b) => compare(a.name, b.name) || (a.name < b.name ? -1 : 1));
  entries.forEach((entry, rank) => { entry.rank = rank; });
  return entries;
}

const finite = (number) => (Number.isFinite(number) ? number : NaN);

// A path as part of an address. Python holds a byte that is no UTF-8 as U+DC80 and above.
function address(path) {
  let told = "";
  for (const sign of path) {
    const code = sign.codePointAt(0);
    const isByte = code >= 0xdc80 && code <= 0xdcff;
    told += sign === "/" ? "/" : isByte ? `%${(code - 0xdc00).toString(16)}` : code >= 0xd800 && code <= 0xdfff ? "%EF%BF%BD" : encodeURIComponent(sign);
  }
  return told;
}

const resultOf = (entry) => entry.status !== "left out" && `./${address(entry.name + entry.part.result_end)}`;
const sheetOf = (entry) => entry.part.sheet_end && resultOf(entry) && `./${address(entry.name + entry.part.sheet_end)}`;
const sourceOf = (entry) => entry.source && (entry.part.base.startsWith("file:") ? entry.part.base : `./${address(entry.part.base)}`) + `/${address(entry.source)}`;

function linksOf(entry) {
  const links = [["original", sourceOf(entry)], ["result", resultOf(entry)], ["sheet", sheetOf(entry)]];
  return links.filter(([, href]) => href).map(([word, href]) => make("a", { href, target: "_blank", rel: "noopener", aria: { label: `${word} of ${readable(entry.name)}` } }, word));
}

const ORDERS = {
  "name": (a, b) => a.rank - b.rank,
  "least gain first": byNumber((entry) => entry.gain),
  "most gain first": byNumber((entry) => -entry.gain),
  "most changed first": byNumber((entry) => -entry.change),
  "least changed first": byNumber((entry) => entry.change),
  "lowest quality first": byNumber((entry) => entry.quality ?? NaN),
  "largest first": byNumber((entry) => (entry.size ? -entry.size[0] * entry.size[1] : NaN)),
};

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

function qualityOf(entry) {
  return entry.quality === null ? "" : `${entry.tables === "standard" ? "" : "about "}quality ${entry.quality}`;
}

function inShort(entry) {
  const words = [entry.size && `${entry.size[0]} \u00d7 ${entry.size[1]}`, qualityOf(entry)];
  if (!Number.isNaN(entry.change)) words.push(`mean change ${told(entry.change, 2)}`);
  if (!Number.isNaN(entry.gain)) words.push(`PSNR ${signed(entry.gain, 2)} dB`);
  return words.filter(Boolean).join(" \u00b7 ");
}

const MEASURES = [["MSE", "mse", 2], ["PSNR, dB", "psnr", 2], ["SSIM", "ssim", 4], ["RGB PSNR, dB", "rgb_psnr", 2]];

function measures(rows, caption) {
  const body = rows.map(([name, before, after, digits]) => make("tr", {}, make("th", { scope: "row" }, name), ...[told(before, digits), told(after, digits), Number.isFinite(after - before) ? signed(after - before, digits) : ""].map((text) => make("td", {}, text))));
  const head = make("tr", {}, ...[caption, "before", "after", "change"].map((text) => make("th", { scope: "col" }, text)));
  return make("table", {}, make("thead", {}, head), make("tbody", {}, ...body));
}

function facts(entry) {
  const planes = ["luma", "Cb", "Cr"], own = new Set(["key", "source", "crops", "name", "figures", "tables", "changes", "weights", "part", "found", "change", "gain", "rank"]);
  const lines = [["status", entry.why ? `${entry.status}: ${entry.why}` : entry.status]];
  if (entry.size) lines.push(["size", `${entry.size[0]} \u00d7 ${entry.size[1]} pixels`]);
  if (qualityOf(entry)) lines.push(["quality found", qualityOf(entry)]);
  const used = planes.map((plane, i) => entry.weights?.[i] && `${plane}: ${entry.weights[i]}`).filter(Boolean);
  if (used.length) lines.push(["weights", used.join("; ")]);
  const changes = planes.map((plane, i) => entry.changes?.[i] != null && `${plane} ${told(entry.changes[i], 2)}`).filter(Boolean);
  if (changes.length) lines.push(["mean change", `${changes.join(", ")} grey levels`]);
  for (const column of entry.part.columns) { // the rest by its own name, further columns too
    if (!own.has(column) && !["status", "why", "size", "quality"].includes(column) && entry[column] != null && entry[column] !== "") lines.push([column, column === "seconds" ? `${told(entry.seconds, 2)}` : readable(String(entry[column]))]);
  }
  const list = make("dl", {}, ...lines.flatMap(([name, text]) => [make("dt", {}, name), make("dd", {}, readable(text))]));
  const rows = entry.found ? MEASURES.map(([name, key, digits]) => [name, entry.found[`${key}_before`], entry.found[`${key}_after`], digits]).filter((row) => !Number.isNaN(row[1])) : [];
  return [make("p", { className: "links" }, ...linksOf(entry)), ...(rows.length ? [measures(rows, "against the clean picture")] : []), list];
}

// ---- the slider --------------------------------------------------------------------------

// One panel of a picture that holds several: columns beside each other, rows above each other.
function panel(entry, source, { column = 0, columns = 1, row = 0, rows = 1, ratio, label, name = "" }) {
  const shift = `translate(${(-100 * column) / columns}%, ${(-100 * row) / rows}%)`;
  const image = make("img", { loading: "lazy", decoding: "async", draggable: false, alt: `${readable(entry.name)}, ${label}`, css: { width: `${columns * 100}%`, transform: shift } });
  image.addEventListener("error", () => image.closest(".stage, #stage")?.replaceChildren(make("p", {}, "what was drawn of this picture is not there any more")), { once: true });
  image.src = source;
  return make("div", { className: `panel ${name}`, css: { "--ratio": ratio } }, image);
}

function slider(entry, before, after, width, height) {
  const control = make("input", { type: "range", min: 0, max: 100, step: 1, value: 50, aria: { label: `Before and after of ${readable(entry.name)}`, valuetext: "50 % before" } });
  const frame = make("div", { className: "frame", css: { width: `${width}px`, height: `${height}px` } }, after, before,
    make("span", { className: "line" }), make("span", { className: "tag left", aria: { hidden: true } }, "before"), make("span", { className: "tag right", aria: { hidden: true } }, "after"), control);
  control.addEventListener("input", () => {
    frame.style.setProperty("--at", `${control.value}%`);
    control.setAttribute("aria-valuetext", `${control.value} % before`);
  });
  return frame;
}

const previewOf = (entry) => `report/${entry.key}.jpg`;
const cropsOf = (entry) => `report/${entry.key}.webp`;

// The largest size of a picture's shape that fits, no more than 8 times its own.
function fitted([width, height], across, down) {
  const scale = Math.min(across / width, down / height, 8);
  return [Math.max(1, width * scale), Math.max(1, height * scale)];
}

function whole(entry, across, down) {
  const [width, height] = fitted(entry.size, across, down), ratio = entry.size[0] / entry.size[1];
  const [before, after] = ["before", "after"].map((name, row) => panel(entry, previewOf(entry), { row, rows: 3, ratio, label: name, name }));
  return slider(entry, before, after, width, height);
}

const WHY_NO_PREVIEW = "no preview: it was corrected by a run without --report";

// ---- the list ----------------------------------------------------------------------------

const list = { entries: [], shown: [], cards: new Map(), columns: 1, width: 0, stage: 0, height: 0, onPaper: false };

function card(entry, place) {
  const stage = make("div", { className: "stage", css: { height: `${list.stage}px` } });
  if (entry.crops) stage.append(whole(entry, list.width - 2, list.stage));
  else stage.append(make("p", {}, entry.status === "left out" ? "left out" : WHY_NO_PREVIEW));
  const open = make("button", { type: "button", aria: { label: `Look closer at ${readable(entry.name)}` } }, "look closer");
  open.addEventListener("click", () => openViewer(place));
  const status = make("p", {}, make("span", { className: "badge" }, entry.status), entry.why ? `: ${readable(entry.why)}` : "");
  const text = make("div", { className: "told" }, make("h2", { title: readable(entry.name) }, named(entry.name)), status,
    make("p", { className: "faint" }, inShort(entry)), make("div", { className: "links" }, ...(entry.size ? [open] : []), ...linksOf(entry)));
  const element = make("article", { className: `card ${entry.status.replace(" ", "-")}`, aria: { setsize: list.shown.length, posinset: place + 1 } }, stage, text);
  element.setAttribute("role", "listitem");
  return element;
}

function layOut() {
  const width = at("list").clientWidth, rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
  list.columns = Math.max(1, Math.floor((width + GAP) / (NARROWEST_CARD + GAP)));
  list.width = (width - GAP * (list.columns - 1)) / list.columns;
  list.stage = Math.round(list.width * 0.75);
  list.height = list.stage + Math.round(11 * rem);
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
  list.shown = list.entries.filter((entry) => (kind === "all" || entry.status === kind) && entry.name.toLowerCase().includes(words)).sort(ORDERS[at("order").value]);
  at("count").textContent = `${counted(list.shown.length)} of ${counted(list.entries.length)} pictures`;
  layOut();
}

// ---- looking closer ----------------------------------------------------------------------

const viewer = { place: 0, view: "whole" };

function openViewer(place) {
  Object.assign(viewer, { place, view: "whole" });
  if (!at("viewer").open) at("viewer").showModal();
  drawViewer();
}

function drawViewer() {
  const entry = list.shown[viewer.place], count = entry.crops?.length ?? 0;
  const views = entry.crops ? { whole: "whole picture", changed: "what changed", ...Object.fromEntries(entry.crops.map((_, i) => [i, `crop ${i + 1}`])) } : {};
  at("viewer-name").replaceChildren(named(entry.name));
  at("previous").disabled = viewer.place === 0;
  at("next").disabled = viewer.place === list.shown.length - 1;
  at("views").replaceChildren(...Object.entries(views).sort(([a], [b]) => order(a) - order(b)).map(([view, word]) => {
    const button = make("button", { type: "button", value: view, aria: { pressed: String(viewer.view) === view } }, word);
    button.addEventListener("click", () => { viewer.view = view; drawViewer(); at("views").querySelector(`[value="${view}"]`).focus(); });
    return button;
  }));
  at("zoom-field").hidden = !(viewer.view in (entry.crops ?? {}));
  at("zoom-told").textContent = `${at("zoom").value} times`;
  const across = at("viewer").clientWidth - 26;
  if (!entry.crops) at("stage").replaceChildren(make("p", {}, WHY_NO_PREVIEW));
  else if (viewer.view === "whole") at("stage").replaceChildren(whole(entry, across, innerHeight * 0.6));
  else if (viewer.view === "changed") at("stage").replaceChildren(changed(entry, across));
  else at("stage").replaceChildren(...crop(entry, Number(viewer.view), count, across));
  at("facts").replaceChildren(...facts(entry));
}

const order = (view) => ["whole", "changed"].indexOf(view) + (view in { whole: 0, changed: 0 } ? 0 : 3 + Number(view));

function changed(entry, across) {
  const [width, height] = fitted(entry.size, across, innerHeight * 0.6);
  const shown = panel(entry, previewOf(entry), { row: 2, rows: 3, ratio: width / height, label: "what changed" });
  const frame = make("div", { css: { width: `${width}px`, height: `${height}px` } }, shown);
  return make("figure", {}, frame, make("figcaption", {}, "The mean change of each block of 8 \u00d7 8 pixels: black is none, white 16 grey levels and more."));
}

function crop(entry, row, rows, across) {
  const zoom = Number(at("zoom").value), [width, height] = entry.size.map((length) => Math.min(SIDE, length));
  const columns = entry.found ? 3 : 2, source = cropsOf(entry), ratio = width / height, [x, y] = entry.crops[row];
  const scale = Math.min(zoom, across / width), sides = [width * scale, height * scale];
  const part = (column, label, name) => panel(entry, source, { column, columns, row, rows, ratio, label, name });
  const still = (column, word) => make("figure", { className: "pixels" }, make("div", { css: { width: `${sides[0]}px`, height: `${sides[1]}px` } }, part(column, word)), make("figcaption", {}, word));
  const moving = make("figure", { className: "pixels" }, slider(entry, part(0, "before", "before"), part(1, "after", "after"), ...sides), make("figcaption", {}, `${width} \u00d7 ${height} pixels from ${x}, ${y}`));
  const box = make("div", { className: "difference", css: { width: `${sides[0]}px`, height: `${sides[1]}px` } }, part(0, "before"), part(1, "after"));
  const difference = make("figure", { className: "pixels" }, box, make("figcaption", {}, "what changed, 8 times as bright: black is nothing"));
  return [moving, difference, ...(entry.found ? [still(2, "clean picture")] : [])];
}

// ---- the summary -------------------------------------------------------------------------

function histogram(title, numbers, low, step, bars, digits) {
  const counts = new Array(bars).fill(0);
  for (const number of numbers) counts[Math.min(bars - 1, Math.max(0, Math.floor((number - low) / step)))] += 1;
  const most = Math.max(...counts), [width, height] = [220, 100], across = width / bars;
  const draw = (tag, properties, text) => {
    const element = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(properties)) element.setAttribute(name, value);
    if (text !== undefined) element.textContent = text;
    return element;
  };
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
function bars(numbers) {
  const low = numbers.reduce((a, b) => Math.min(a, b)), high = numbers.reduce((a, b) => Math.max(a, b));
  const least = Math.max((high - low) / 9, 0.01), power = 10 ** Math.floor(Math.log10(least));
  const step = [1, 2, 5, 10].map((times) => times * power).find((width) => width >= least * (1 - 1e-9));
  const from = Math.floor(low / step + 1e-9) * step;
  return [from, step, Math.max(1, Math.floor((high - from) / step + 1e-9) + 1), Math.max(0, Math.ceil(-Math.log10(step) - 1e-9))];
}

function summary(entries) {
  const count = (kind) => entries.filter((entry) => entry.status === kind).length;
  const reasons = new Map();
  for (const entry of entries) if (entry.why) reasons.set(`${entry.status}: ${entry.why}`, (reasons.get(`${entry.status}: ${entry.why}`) ?? 0) + 1);
  const most = [...reasons].sort((a, b) => b[1] - a[1]), lines = most.slice(0, 5).map(([why, times]) => make("li", {}, `${counted(times)} ${readable(why)}`));
  if (most.length > 5) lines.push(make("li", {}, `and ${counted(most.length - 5)} further reasons`));
  const parts = [make("div", { className: "panel-of-summary" }, make("h2", {}, "What came of them"),
    make("p", {}, ["corrected", "unchanged", "left out"].map((kind) => `${counted(count(kind))} ${kind}`).join(", ")), make("ul", {}, ...lines))];
  const measured = entries.filter((entry) => entry.found);
  if (measured.length) {
    const rows = MEASURES.map(([name, key, digits]) => {
      const pairs = measured.map((entry) => [entry.found[`${key}_before`], entry.found[`${key}_after`]]).filter((pair) => pair.every(Number.isFinite));
      const mean = (which) => pairs.reduce((sum, pair) => sum + pair[which], 0) / pairs.length;
      return [name, mean(0), mean(1), digits];
    });
    parts.push(make("div", { className: "panel-of-summary" }, measures(rows.filter((row) => Number.isFinite(row[1])), `mean of ${counted(measured.length)}`)));
  }
  const draw = (title, numbers) => { if (numbers.length) { const [low, step, many, digits] = bars(numbers); parts.push(histogram(title, numbers, low, step, many, digits)); } };
  const qualities = entries.map((entry) => entry.quality).filter((quality) => quality != null);
  if (qualities.length) parts.push(histogram("Quality found", qualities, 0, 10, 10, 0));
  draw("Mean change of luma, grey levels", entries.map((entry) => entry.change).filter(Number.isFinite));
  draw("Gain of PSNR, dB", entries.map((entry) => entry.gain).filter(Number.isFinite));
  return parts;
}

// ---- the start ---------------------------------------------------------------------------

function begin(parts) {
  list.entries = entriesOf(parts);
  const total = parts.reduce((sum, part) => sum + part.total, 0), [part] = parts;
  if (part) at("lead").append(`${counted(list.entries.length)} pictures of `, named(part.data), `, corrected by car-suite ${part.version}`);
  if (!parts.length) {
    at("unfinished").hidden = false;
    at("unfinished").textContent = "Nothing is done yet, or the folder report beside this page is missing. Load the page again to see more.";
  } else if (parts.some((one) => !one.finished) || parts.length < part.parts) {
    at("unfinished").hidden = false;
    at("unfinished").textContent = `When this was written the work was not at its end: ${counted(list.entries.length)} of ${counted(total)} pictures${parts.length < part.parts ? ` in ${parts.length} of ${part.parts} parts` : ""}. Load the page again to see more.`;
  }
  at("summary").append(...summary(list.entries));
  at("overview").open = innerWidth > 600; // on a phone the pictures come first
  for (const name of Object.keys(ORDERS)) at("order").append(make("option", { value: name }, name));
  for (const kind of Object.keys(KINDS)) {
    const many = kind === "all" ? list.entries.length : list.entries.filter((entry) => entry.status === kind).length;
    const button = make("button", { type: "button", value: kind, aria: { pressed: kind === "all" } }, `${KINDS[kind]} ${counted(many)}`);
    button.addEventListener("click", () => {
      for (const other of at("kinds").querySelectorAll("button")) other.setAttribute("aria-pressed", other === button);
      choose();
    });
    at("kinds").append(button);
  }
  at("tools").addEventListener("submit", (event) => event.preventDefault());
  at("filter").addEventListener("input", choose);
  at("order").addEventListener("change", choose);
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

begin(globalThis.carReport ?? []);
