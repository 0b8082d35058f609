"use strict";
// Fills the page with one of its sources, and switches between them.

const DATA = JSON.parse(document.getElementById("report-data").textContent);
const part = (id) => document.getElementById(id);
let replay = null;

function table(rows, options = {}) {
  const [header, ...lines] = rows;
  const row = (cells, kind, tag) => el("tr", { class: kind }, ...cells.map((cell) => el(tag, tag === "th" ? { scope: "col" } : {}, cell)));
  return el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": options.label || "Table" },
    el("table", {}, el("thead", {}, row(header, "", "th")), el("tbody", {}, ...lines.map((cells, k) => row(cells, options.kinds?.[k] || "", "td")))));
}

const missing = (words) => el("p", { class: "note" }, words);

function showReplay(source) {
  const body = part("replay-body");
  replay = null;
  if (source.replay.missing) return body.replaceChildren(missing(source.replay.missing));
  const below = el("div");
  replay = new Replay(source.replay, signalChart(titled(below, "Signals of this puzzle")));
  body.replaceChildren(replay.node, below);
}

function showDepth(source) {
  const { count, split, exact, limit } = source.depth;
  part("depth-note").textContent = `${count} ${split} puzzles; whiskers: 95 %. ${percent(exact[exact.length - 1])} exact after ${exact.length} segments` +
    (limit ? `; the dotted line is the limit in training, ${limit}.` : ".");
  depthChart(part("depth-chart"), DATA.sources.length > 1 ? [source, ...DATA.sources.filter((other) => other !== source)] : [source]);
}

function showHalting({ halting }) {
  const body = part("halting-body"), calibration = part("calibration-body");
  if (halting.missing) {
    body.replaceChildren(missing(halting.missing));
    return calibration.replaceChildren(missing(halting.missing));
  }
  const { report } = halting;
  const kinds = report.policies.map(({ hindsight }) => (hindsight ? "bound" : ""));
  const figures = el("div", { class: "charts" });
  body.replaceChildren(el("p", { class: "note" }, `${halting.title}. Rules in italics know the answers: bounds, not rules to use.`),
    table(halting.table, { kinds, label: "Stopping rules" }), ...halting.legend.map(missing), figures);
  haltingChart(titled(figures, "Accuracy for compute", "whole"), report);
  const window = better(report);
  if (window) haltingChart(titled(figures, "The better rules, closer"), report, window);
  if (report.difficulty) {
    const of = (title, ...how) => difficultyChart(titled(figures, `${title} by ${report.difficulty.by}`), report.difficulty, report.settings.baseline, ...how);
    of("Segments", "mean_segments", (values) => values, "mean segments");
    of("Accuracy", "exact_accuracy", percents, "puzzles solved (%)");
  }
  if (halting.chosen.length) body.append(el("details", {}, el("summary", {}, "Rules as chosen"), table(halting.chosen, { label: "Rules as chosen" })));
  const { ece, brier, auroc } = report.calibration;
  const both = el("div", { class: "charts" });
  calibration.replaceChildren(el("p", { class: "note" }, `Expected calibration error ${figure(ece)}, Brier score ${figure(brier)}, AUROC ${figure(auroc)}, over all drafts.`),
    both);
  calibrationChart(titled(both, "Predicted and found"), report.calibration);
  segmentCalibrationChart(titled(both, "By segment"), report.calibration);
}

function showTraining({ training }) {
  const body = part("training-body");
  if (training.missing) return body.replaceChildren(missing(training.missing));
  const node = el("div", { class: "charts" });
  body.replaceChildren(node);
  trainingCharts(node, training);
}

function showSettings({ settings }) {
  const text = (value) => el("pre", { tabindex: 0 }, JSON.stringify(value, null, 2));
  const parts = [["Settings of the run", settings.run], ["Recording", settings.recording], ["Versions", settings.versions]];
  part("settings-body").replaceChildren(...parts.filter(([, value]) => value).map(([title, value]) => el("details", {}, el("summary", {}, title), text(value))));
}

function csv(columns) {
  const cell = (value) => (value === null || value === undefined ? "" : /[",\n]/.test(value) ? `"${String(value).replaceAll('"', '""')}"` : value);
  const names = Object.keys(columns), length = Math.max(...names.map((name) => columns[name].length));
  return [names, ...Array.from({ length }, (_, k) => names.map((name) => columns[name][k]))].map((row) => row.map(cell).join(",")).join("\n") + "\n";
}

function showDownloads(source) {
  const { exact, valid, cells } = source.depth;
  const files = [["report.json", "application/json", () => JSON.stringify({ ...source, replay: undefined })],
    ["depth.csv", "text/csv", () => csv({ segment: counted(exact), exact, valid, cells })]];
  if (!source.halting.missing) {
    const [header, ...rows] = source.halting.table;
    files.push(["compare.json", "application/json", () => JSON.stringify(source.halting.report)],
      ["halting.csv", "text/csv", () => csv(Object.fromEntries(header.map((name, k) => [name, rows.map((row) => row[k])])))]);
  }
  if (!source.training.missing) {
    const lines = Object.entries(source.training).flatMap(([tag, { steps, values }]) => steps.map((step, k) => [tag, step, values[k]]));
    files.push(["training.csv", "text/csv", () => csv({ tag: lines.map((x) => x[0]), step: lines.map((x) => x[1]), value: lines.map((x) => x[2]) })]);
  }
  if (!source.replay.missing) files.push(["replay.json", "application/json", () => JSON.stringify(source.replay)]);
  const links = files.map(([name, type, make]) => el("a", { download: name, href: `data:${type};charset=utf-8,${encodeURIComponent(make())}` }, name));
  part("downloads").replaceChildren(...links.flatMap((link) => [link, " · "]).slice(0, -1));
}

function show(source) {
  forget();
  part("title").textContent = source.name;
  part("facts").replaceChildren(...[["solves", source.kind], ...source.facts].map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
  for (const step of [showReplay, showDepth, showHalting, showTraining, showSettings, showDownloads]) step(source);
  for (const button of part("sources").children) button.setAttribute("aria-pressed", button.textContent === source.name);
}

if (DATA.sources.length > 1) part("sources").append(...DATA.sources.map((source) => el("button", { type: "button", onclick: () => show(source) }, source.name)));
part("footer").textContent = `Made by hrm_rl ${DATA.version}, ${DATA.created.replace("T", " ").slice(0, 16)} UTC. Nothing is loaded from elsewhere.`;
document.addEventListener("keydown", (event) => replay?.key(event));
show(DATA.sources[0]);
