// The page of results: each picture before and after, as car/report.py wrote of it.

const SIDE = 96; // of a crop at the most, in pixels: car/thumbnails.py
const WHY_NO_PREVIEW = "no preview: it was corrected by a run without --report";

// The pictures of all parts of the work, by name.
function pictures(parts) {
  const entries = parts.flatMap(entriesOf);
  for (const entry of entries) {
    entry.kind = entry.status;
    entry.found = entry.figures && Object.fromEntries(entry.part.figure_columns.map((name, i) => [name, entry.figures[i]]));
    entry.change = entry.changes?.[0] ?? NaN;
    entry.gain = entry.found ? finite(entry.found.psnr_after - entry.found.psnr_before) : NaN;
  }
  return ranked(entries.sort((a, b) => collated(a.name, b.name) || (a.name < b.name ? -1 : 1)));
}

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
  "name": byRank,
  "least gain first": byNumber((entry) => entry.gain),
  "most gain first": byNumber((entry) => -entry.gain),
  "most changed first": byNumber((entry) => -entry.change),
  "least changed first": byNumber((entry) => entry.change),
  "lowest quality first": byNumber((entry) => entry.quality ?? NaN),
  "largest first": byNumber((entry) => (entry.size ? -entry.size[0] * entry.size[1] : NaN)),
};

// ---- figures in words --------------------------------------------------------------------

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
  return table([caption, "before", "after", "change"], rows.map(([name, before, after, digits]) => [name, told(before, digits), told(after, digits), Number.isFinite(after - before) ? signed(after - before, digits) : ""]));
}

function facts(entry) {
  const planes = ["luma", "Cb", "Cr"], own = new Set(["key", "source", "crops", "name", "figures", "tables", "changes", "weights", "part", "found", "kind", "change", "gain", "rank"]);
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
  const rows = entry.found ? MEASURES.map(([name, key, digits]) => [name, entry.found[`${key}_before`], entry.found[`${key}_after`], digits]).filter((row) => !Number.isNaN(row[1])) : [];
  return [make("p", { className: "links" }, ...linksOf(entry)), ...(rows.length ? [measures(rows, "against the clean picture")] : []), described(lines)];
}

// ---- what is drawn of one ----------------------------------------------------------------

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

function stageOf(entry, across, down) {
  if (entry.crops) return whole(entry, across, down);
  return make("p", {}, entry.status === "left out" ? "left out" : WHY_NO_PREVIEW);
}

function linesOf(entry) {
  const status = make("p", {}, make("span", { className: "badge" }, entry.status), entry.why ? `: ${readable(entry.why)}` : "");
  return [status, make("p", { className: "faint" }, inShort(entry))];
}

function viewsOf(entry) {
  if (!entry.crops) return [{ view: "none", look: () => [make("p", {}, WHY_NO_PREVIEW)] }];
  return [
    { view: "whole", word: "whole picture", look: (across) => [whole(entry, across, innerHeight * 0.6)] },
    { view: "changed", word: "what changed", look: (across) => [changed(entry, across)] },
    ...entry.crops.map((_, row) => ({ view: `${row}`, word: `crop ${row + 1}`, zoomed: true, look: (across) => closeUp(entry, cropOf(entry, row), across) })),
  ];
}

function changed(entry, across) {
  const [width, height] = fitted(entry.size, across, innerHeight * 0.6);
  const shown = panel(entry, previewOf(entry), { row: 2, rows: 3, ratio: width / height, label: "what changed" });
  const frame = make("div", { css: { width: `${width}px`, height: `${height}px` } }, shown);
  return make("figure", {}, frame, make("figcaption", {}, "The mean change of each block of 8 \u00d7 8 pixels: black is none, white 16 grey levels and more."));
}

function cropOf(entry, row) {
  const size = entry.size.map((length) => Math.min(SIDE, length)), [x, y] = entry.crops[row];
  return { source: cropsOf(entry), row, rows: entry.crops.length, size, words: ["before", "after", "clean picture"].slice(0, entry.found ? 3 : 2), told: `${size[0]} \u00d7 ${size[1]} pixels from ${x}, ${y}` };
}

// ---- the whole of it ---------------------------------------------------------------------

function summary(entries) {
  const count = (kind) => entries.filter((entry) => entry.status === kind).length;
  const reasons = new Map();
  for (const entry of entries) if (entry.why) reasons.set(`${entry.status}: ${entry.why}`, (reasons.get(`${entry.status}: ${entry.why}`) ?? 0) + 1);
  const most = [...reasons].sort((a, b) => b[1] - a[1]), lines = most.slice(0, 5).map(([why, times]) => make("li", {}, `${counted(times)} ${readable(why)}`));
  if (most.length > 5) lines.push(make("li", {}, `and ${counted(most.length - 5)} further reasons`));
  const parts = [fact("What came of them", make("p", {}, ["corrected", "unchanged", "left out"].map((kind) => `${counted(count(kind))} ${kind}`).join(", ")), make("ul", {}, ...lines))];
  const measured = entries.filter((entry) => entry.found);
  if (measured.length) {
    const rows = MEASURES.map(([name, key, digits]) => {
      const pairs = measured.map((entry) => [entry.found[`${key}_before`], entry.found[`${key}_after`]]).filter((pair) => pair.every(Number.isFinite));
      const mean = (which) => pairs.reduce((sum, pair) => sum + pair[which], 0) / pairs.length;
      return [name, mean(0), mean(1), digits];
    });
    parts.push(make("div", { className: "panel-of-summary" }, measures(rows.filter((row) => Number.isFinite(row[1])), `mean of ${counted(measured.length)}`)));
  }
  const histogramOf = (title, numbers, place) => { if (numbers.length) parts.push(histogram(title, numbers, place)); };
  histogramOf("Quality found", entries.map((entry) => entry.quality).filter((quality) => quality != null), [0, 10, 10, 0]);
  histogramOf("Mean change of luma, grey levels", entries.map((entry) => entry.change).filter(Number.isFinite));
  histogramOf("Gain of PSNR, dB", entries.map((entry) => entry.gain).filter(Number.isFinite));
  return parts;
}

function unfinished(parts, entries) {
  const total = parts.reduce((sum, part) => sum + part.total, 0);
  if (parts.every((part) => part.finished) && parts.length >= parts[0]?.parts) return "";
  return `When this was written the work was not at its end: ${counted(entries.length)} of ${counted(total)} pictures${parts.length < parts[0]?.parts ? ` in ${parts.length} of ${parts[0].parts} parts` : ""}. Load the page again to see more.`;
}

begin((parts) => {
  const entries = pictures(parts), [part] = parts;
  return {
    entries, things: "pictures", kinds: ["corrected", "unchanged", "left out"], orders: ORDERS,
    lead: part ? [`${counted(entries.length)} pictures of `, named(part.data), `, corrected by car-suite ${part.version}`] : [],
    unfinished: unfinished(parts, entries), summary: summary(entries),
    stageHeight: (width) => width * 0.75, textHeight: 11, zoom: 3, stage: stageOf, lines: linesOf, links: linksOf,
    opens: (entry) => entry.size !== null, views: viewsOf, facts,
  };
});
