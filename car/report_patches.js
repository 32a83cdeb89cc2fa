// The pages of a training and of records: patches of them, as car/patch_page.py wrote of them.

// Column of losses.csv, what it is; the later lie above the earlier. As in losses.png (car/pictures.py).
const CURVES = [
  ["train_jpg_mse", "JPG itself, training"],
  ["val_jpg_mse", "JPG itself, validation: the line to beat"],
  ["train_loss", "training"],
  ["val_loss", "validation"],
];
const LONGEST_OPEN = 8; // lines of facts that are shown at once
const CLOSE_UP = 256; // pixels: what a patch is magnified to where somebody looks closer, by 2 to 8 times
const PLOT = { height: 280, left: 46, right: 12, top: 10, bottom: 26 }; // pixels

// ---- a patch -----------------------------------------------------------------------------

function patchesOf(parts) {
  const entries = parts.flatMap(entriesOf);
  for (const entry of entries) {
    entry.place = `record ${counted(entry.record)} of ${entry.file}`;
    entry.name = entry.image || entry.place;
    entry.gain = finite(entry.psnr_after - entry.psnr_before);
  }
  return ranked(entries);
}

function cellsOf(entry) {
  const { source, words, side } = entry.part.drawn;
  return { source, words, row: entry.rank, rows: entry.part.rows.length, size: [side, side], told: entry.place };
}

// All columns of a patch beside each other: by a whole number, where they are not smaller than they are.
function zoomOf(part, across) {
  const zoom = (across - 3 * GAP) / (part.drawn.words.length * part.drawn.side);
  return zoom < 1 ? zoom : Math.floor(zoom);
}

function stageOf(entry, across) {
  const cells = cellsOf(entry), zoom = zoomOf(entry.part, across);
  return make("div", { className: "stills" }, ...cells.words.map((_, column) => still(entry, cells, column, zoom)));
}

// A figure before and after, where there is an after.
const changing = (entry, name, digits) => [entry[`${name}_before`], entry[`${name}_after`]].filter((figure) => figure !== null).map((figure) => told(figure, digits)).join(" \u2192 ");

function linesOf(entry) {
  const figures = `MSE ${changing(entry, "mse", 2)} \u00b7 PSNR ${changing(entry, "psnr", 2)} dB`;
  const lines = [make("p", {}, make("span", { className: "badge" }, entry.kind)), make("p", {}, figures)];
  return entry.image ? [...lines, make("p", { className: "faint" }, entry.place)] : lines;
}

function factsOf(entry) {
  const lines = [["image", entry.image || "not known: split.json does not tell"], ["record", entry.place], ["kind", entry.kind]];
  const what = entry.mse_after === null ? "MSE" : "MSE, of the net's output before it is clipped to 0..255";
  lines.push([what, changing(entry, "mse", 3)], ["PSNR", `${changing(entry, "psnr", 2)} dB`], ["standard deviation", `${told(entry.contrast, 1)} grey levels (BMP)`]);
  return [described(lines)];
}

// ---- losses ------------------------------------------------------------------------------

// Round numbers between low and high, at most nine.
function ticks(low, high) {
  const power = 10 ** Math.floor(Math.log10(high - low)), step = [0.1, 0.2, 0.5, 1, 2].map((times) => times * power).find((width) => (high - low) / width <= 8);
  const first = Math.ceil(low / step), digits = Math.max(0, Math.ceil(-Math.log10(step) - 1e-9));
  return Array.from({ length: Math.floor(high / step) - first + 1 }, (_, i) => [(first + i) * step, told((first + i) * step, digits)]);
}

// The axis ends at 1.6 times the JPG's MSE, as single steps can lie far above; the last losses are inside.
function rangeOf(rows) {
  const all = rows.flatMap((row) => CURVES.map(([column]) => row[column])).filter(Number.isFinite);
  const last = CURVES.map(([column]) => rows.at(-1)[column]).filter(Number.isFinite);
  const low = Math.min(...all), high = Math.min(Math.max(...all), Math.max(1.6 * Math.max(...rows.map((row) => row.val_jpg_mse)), ...last));
  const room = 0.05 * (high - low) || 1;
  return [low - room, high + room];
}

function plot(svg, rows, width, chosen) {
  const [low, high] = rangeOf(rows), last = Math.max(1, rows.at(-1).step), { height, left, right, top, bottom } = PLOT;
  const x = (step) => left + ((width - left - right) * step) / last;
  const y = (loss) => top + ((height - top - bottom) * (high - Math.min(loss, high))) / (high - low);
  svg.replaceChildren();
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  for (const [loss, text] of ticks(low, high)) svg.append(draw("line", { x1: left, x2: width - right, y1: y(loss), y2: y(loss) }), draw("text", { x: left - 6, y: y(loss) + 4, "text-anchor": "end" }, text));
  const steps = ticks(0, last).filter(([step]) => Number.isInteger(step)), every = Math.ceil(steps.length / (width / 70));
  for (const [step, text] of steps.filter((_, i) => i % every === 0)) svg.append(draw("text", { x: x(step), y: height - 8, "text-anchor": "middle" }, text));
  svg.append(draw("line", { class: "chosen", x1: x(rows[chosen].step), x2: x(rows[chosen].step), y1: top, y2: height - bottom }));
  CURVES.forEach(([column], curve) => {
    const points = rows.filter((row) => Number.isFinite(row[column])).map((row) => [x(row.step), y(row[column])]);
    svg.append(draw("polyline", { class: `curve-${curve}`, points: points.join(" ") }));
    if (Number.isFinite(rows[chosen][column])) svg.append(draw("circle", { class: `curve-${curve}`, cx: x(rows[chosen].step), cy: y(rows[chosen][column]), r: 3.5 }));
  });
  return (along) => rows.reduce((best, row, i) => (Math.abs(x(row.step) - along) < Math.abs(x(rows[best].step) - along) ? i : best), 0);
}

// A plot on which mouse, finger or the slider below it choose the validation whose losses are told.
function lossesOf({ columns, rows: values }) {
  const rows = entriesOf({ columns, rows: values }), svg = draw("svg", { "aria-hidden": true });
  const control = make("input", { type: "range", min: 0, max: rows.length - 1, value: rows.length - 1, aria: { label: "Validation" } });
  const figures = CURVES.map(() => make("b")), step = make("b");
  const key = make("ul", { className: "key" }, make("li", {}, "step ", step), ...CURVES.map(([, word], curve) => make("li", { className: `curve-${curve}` }, `${word} `, figures[curve])));
  let nearest = () => 0;
  const redraw = () => {
    const row = rows[control.value];
    step.textContent = counted(row.step);
    CURVES.forEach(([column], curve) => { figures[curve].textContent = told(row[column], 3) || "\u2013"; });
    control.setAttribute("aria-valuetext", `step ${row.step}: ${CURVES.map(([column, word]) => `${word} ${told(row[column], 3) || "none"}`).join(", ")}`);
    nearest = plot(svg, rows, svg.clientWidth || 600, Number(control.value));
  };
  const point = (event) => { control.value = nearest(event.clientX - svg.getBoundingClientRect().left); redraw(); };
  for (const kind of ["pointermove", "pointerdown"]) svg.addEventListener(kind, point);
  control.addEventListener("input", redraw);
  new ResizeObserver(redraw).observe(svg);
  const words = columns.map((column) => column.replaceAll("_", " "));
  const all = make("details", {}, make("summary", {}, "All losses"));
  all.addEventListener("toggle", () => { if (all.children.length === 1) all.append(make("div", { className: "wide" }, table(words, values.map((row) => [counted(row[0]), ...row.slice(1).map(shortly)])))); });
  return make("figure", { className: "panel-of-summary losses" }, make("figcaption", {}, "Mean squared error, in squared grey levels"), key, svg, control, all);
}

const shortly = (number) => (Number.isFinite(number) ? String(Number(number.toPrecision(5))) : "");

// ---- the whole of it ---------------------------------------------------------------------

const folded = (lines) => make("details", {}, make("summary", {}, `all ${lines.length}`), described(lines));

function summaryOf(part) {
  return [
    ...(part.losses ? [lossesOf(part.losses)] : []),
    ...part.facts.map(([title, lines]) => fact(title, lines.length > LONGEST_OPEN ? folded(lines) : described(lines))),
    ...part.tables.map(([title, head, rows]) => fact(title, make("div", { className: "wide" }, table(head, rows)))),
    ...part.histograms.filter(([, numbers]) => numbers.length).map(([title, numbers]) => histogram(title, numbers)),
  ];
}

begin((parts) => {
  const entries = patchesOf(parts), [part] = parts, isCorrected = entries.some((entry) => entry.mse_after !== null);
  const orders = { "as chosen": byRank, "most error first": byNumber((entry) => -(entry.mse_after ?? entry.mse_before)) };
  if (isCorrected) orders["least gain first"] = byNumber((entry) => entry.gain);
  orders.name = (a, b) => collated(a.name, b.name) || byRank(a, b);
  return {
    entries, things: "patches", kinds: part?.kinds ?? [], orders,
    lead: part ? [part.lead, named(part.folder), `, by car-suite ${part.version}`] : [],
    unfinished: part?.unfinished, summaryFirst: true, summary: part ? summaryOf(part) : [],
    stageHeight: (width, rem) => (part ? zoomOf(part, width) * part.drawn.side : 0) + 2 * GAP + 1.5 * rem, textHeight: isCorrected ? 11 : 9.5, zoom: part ? CLOSE_UP / part.drawn.side : 3,
    stage: stageOf, lines: linesOf, links: () => [], opens: () => true,
    views: (entry) => [{ view: "patch", zoomed: true, look: (across) => closeUp(entry, cellsOf(entry), across) }], facts: factsOf,
  };
});
