"use strict";
// Charts with plotly.js. They are drawn when they come into view, and again when the colors of the page change.

// Okabe and Ito's; on dark ground their blue is lighter.
const dark = matchMedia("(prefers-color-scheme: dark)");
const colors = () => [dark.matches ? "#6CB4F0" : "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", dark.matches ? "#B7A6F5" : "#56B4E9"];
const colorOf = (k) => colors()[k % colors().length];
const DASHES = ["solid", "dash", "dashdot", "dot"];
const SYMBOLS = ["circle", "square", "diamond", "triangle-up", "triangle-down", "x", "cross", "star-diamond", "hexagon"];
const charts = new Map();

const variable = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
/** plotly reads a little markup in names; here they are plain. */
const plain = (text) => String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;");

function line(name, x, y, k, more = {}) {
  return { name: plain(name), x, y, type: "scatter", mode: "lines", line: { color: colorOf(k), dash: DASHES[k % DASHES.length], width: 2 }, ...more };
}

function themed(layout) {
  const axis = { gridcolor: variable("line"), zerolinecolor: variable("line"), linecolor: variable("line"), automargin: true };
  const { xaxis = {}, yaxis = {}, ...others } = layout;
  return { paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: variable("ink"), family: "system-ui, sans-serif", size: 12 },
    margin: { l: 48, r: 12, t: 8, b: 40 }, hovermode: "closest", hoverlabel: { font: { color: "#171c26" }, bgcolor: "#fff" },
    legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 }, showlegend: true,
    ...others, xaxis: { ...axis, ...xaxis }, yaxis: { ...axis, ...yaxis } };
}

function render(node) {
  const { traces, layout } = charts.get(node);
  return Plotly.react(node, traces(), themed(layout), { responsive: true, displayModeBar: false });
}

const seen = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (!isIntersecting) continue;
    seen.unobserve(target);
    if (charts.has(target)) { charts.get(target).drawn = true; render(target); }
  }
}, { rootMargin: "300px" });

/** Draw a chart; `traces` is a function, so that colors follow the page's. */
function chart(node, traces, layout = {}) {
  const drawn = charts.get(node)?.drawn;
  charts.set(node, { traces, layout, drawn });
  if (drawn) render(node);
  else seen.observe(node);
}

function forget() {
  for (const node of charts.keys()) { seen.unobserve(node); Plotly.purge(node); }
  charts.clear();
}

const repaint = () => charts.forEach(({ drawn }, node) => drawn && render(node));
dark.addEventListener("change", repaint);
addEventListener("beforeprint", () => charts.forEach((found, node) => { if (!found.drawn) { found.drawn = true; render(node); } }));

/** A place for a chart below its title, in a node. */
function titled(node, title, kind = "") {
  const place = el("div", { class: "chart", role: "img", "aria-label": title });
  node.append(el("div", { class: kind }, el("h3", {}, title), place));
  return place;
}

const percents = (shares) => shares.map((share) => (share === null ? null : 100 * share));
const counted = (values) => values.map((_, k) => k + 1);

function depthChart(node, sources) {
  const traces = () => sources.flatMap(({ name, depth }, k) => {
    const x = counted(depth.exact), label = sources.length > 1 ? `${name}, ` : "";
    const found = [line(`${label}exact`, x, percents(depth.exact), k, { mode: "lines+markers", error_y: { type: "data", array: percents(depth.half_width), thickness: 1, width: 2 } })];
    if (sources.length > 1) return found;
    if (depth.valid.some((share, j) => share !== depth.exact[j])) found.push(line("any right answer", x, percents(depth.valid), 2));
    if (depth.any) found.push(line("any trajectory", x, percents(depth.any), 4));
    found.push(line("cells", x, percents(depth.cells), 1));
    if (depth.q_halt) found.push(line("mean halt probability", x, percents(depth.q_halt), 3));
    return found;
  });
  const limits = [...new Set(sources.map(({ depth }) => depth.limit))].filter((limit) => limit > 0);
  const shapes = limits.map((x) => ({ type: "line", x0: x, x1: x, yref: "paper", y0: 0, y1: 1, line: { dash: "dot", width: 1, color: "#888" } }));
  chart(node, traces, { xaxis: { title: { text: "segments" } }, yaxis: { title: { text: "%" }, rangemode: "tozero" }, shapes });
}

/** Rules within ten points of the best one, and their ranges; null where all rules are. */
function better({ policies }) {
  const rules = policies.filter(({ hindsight }) => !hindsight);
  const best = Math.max(...rules.map((policy) => policy.exact_accuracy));
  const inside = rules.filter((policy) => policy.exact_accuracy > best - 0.1);
  if (inside.length < 2 || inside.length === rules.length) return null;
  const range = (values, margin) => [Math.min(...values) - margin, Math.max(...values) + margin];
  return { x: range(inside.map((policy) => policy.mean_segments), 0.3), y: range(inside.map((policy) => 100 * policy.exact_accuracy), 1.5) };
}

function haltingChart(node, report, window) {
  const at = (policy) => [policy.mean_segments, 100 * policy.exact_accuracy];
  const traces = () => {
    const { fixed, oracle } = report.curves;
    const grey = variable("soft");
    const found = [
      { ...line("fixed:N", fixed.segments, percents(fixed.accuracy), 0, { mode: "lines+markers" }), line: { color: grey, width: 3 }, marker: { color: grey, size: 5 } },
      { ...line("hindsight", oracle.segments, percents(oracle.accuracy), 0), line: { color: variable("ink"), dash: "dash", width: 2 } }];
    report.policies.filter(({ policy, hindsight }) => !hindsight && !/^fixed:\d/.test(policy)).forEach((policy, k) => {
      const [x, y] = at(policy), color = colorOf(k), group = String(k);
      if (policy.curve) found.push({ ...line(policy.policy, policy.curve.hull_segments, percents(policy.curve.hull_accuracy), k, { legendgroup: group, showlegend: false, hoverinfo: "skip" }), line: { color, width: 1 } });
      found.push({ name: plain(policy.policy), x: [x], y: [y], type: "scatter", mode: "markers", legendgroup: group,
        marker: { color, size: 10, symbol: SYMBOLS[k % SYMBOLS.length], line: { width: 1, color: variable("card") } } });
    });
    return found;
  };
  const height = window ? 440 : innerWidth < 640 ? 640 : 480;
  chart(node, traces, { height, showlegend: !window, xaxis: { title: { text: "mean segments" }, range: window?.x }, yaxis: { title: { text: "puzzles solved (%)" }, range: window?.y } });
}

function difficultyChart(node, { by, bins, policies }, baseline, column, scale, words) {
  const chosen = policies.filter(({ policy }, k) => policy === baseline || policy === "fixed:auto" || k < 6).slice(0, 6);
  const x = bins.map(({ low, high }) => (low === high ? figure(low) : `${figure(low)}–${figure(high)}`));
  const traces = () => chosen.map((row, k) => line(row.policy, x, scale(row[column]), k, { mode: "lines+markers", marker: { symbol: SYMBOLS[k] } }));
  chart(node, traces, { height: 440, xaxis: { title: { text: plain(by) }, type: "category" }, yaxis: { title: { text: words }, rangemode: "tozero" } });
}

function calibrationChart(node, { curve }) {
  const most = Math.max(...curve.count);
  const traces = () => [
    { ...line("perfect", [0, 1], [0, 1], 0), line: { color: variable("soft"), dash: "dash", width: 1 } },
    line("sigmoid(q_halt)", curve.probability, curve.accuracy, 0, { mode: "lines+markers", text: curve.count.map((n) => `${n} drafts`), marker: { size: curve.count.map((n) => 6 + 10 * Math.sqrt(n / most)) } })];
  chart(node, traces, { xaxis: { title: { text: "predicted probability that the draft is right" }, range: [-0.03, 1.03] }, yaxis: { title: { text: "share that is right" }, range: [-0.03, 1.03] } });
}

function segmentCalibrationChart(node, { segments }) {
  const x = counted(segments);
  const traces = () => [["ece", "expected calibration error"], ["brier", "Brier score"], ["auroc", "AUROC"]].map(([key, name], k) => line(name, x, segments.map((each) => each[key]), k, { mode: "lines+markers" }));
  chart(node, traces, { xaxis: { title: { text: "segment" } }, yaxis: { range: [-0.03, 1.03] } });
}

const TRAINING = [
  ["Accuracy (%)", [["eval/exact_accuracy", "validation, exact"], ["rollout/exact_accuracy", "training, exact"], ["eval/cell_accuracy", "validation, cells"], ["rollout/cell_accuracy", "training, cells"]], percents],
  ["Loss", [["train/loss", "all"], ["train/token_loss", "tokens"], ["train/q_halt_loss", "Q halt"], ["train/q_continue_loss", "Q continue"], ["train/halting_loss", "halting"]], null],
  ["Segments an episode", [["eval/mean_segments", "validation"], ["rollout/mean_segments", "training"], ["train/expected_segments", "expected"]], null],
  ["Learning rate", [["train/learning_rate", "network"]], null]];

function trainingCharts(node, curves) {
  for (const [title, tags, scale] of TRAINING) {
    const present = tags.filter(([tag]) => tag in curves);
    if (!present.length) continue;
    const place = titled(node, title);
    const traces = () => present.map(([tag, name], k) => {
      const { steps, values } = curves[tag];
      return line(name, steps, scale ? scale(values) : values, k, { mode: steps.length < 30 ? "lines+markers" : "lines" });
    });
    chart(place, traces, { xaxis: { title: { text: "step" } }, yaxis: title === "Loss" ? { type: "log" } : {} });
  }
}

/** The signals of a replayed puzzle; `at` moves the line that marks the segment. */
function signalChart(node) {
  const layout = { xaxis: { title: { text: "segment" } }, yaxis: { range: [-0.03, 1.03] }, shapes: [] };
  const names = [["q_halt", "halt"], ["q_continue", "continue"], ["confidence", "confidence"], ["changed", "cells changed"], ["residual_H", "residual z_H"]];
  const draw = (puzzle) => {
    const several = puzzle.trajectories.length > 1;
    const traces = () => puzzle.trajectories.flatMap((trajectory, t) => names.filter(([name]) => name in trajectory).slice(0, several ? 1 : names.length).map(([name, words], k) =>
      line(several ? `${words}, trajectory ${t + 1}` : words, counted(trajectory[name]), trajectory[name], several ? t : k, { mode: "lines+markers", marker: { size: 4 } })));
    chart(node, traces, layout);
  };
  draw.at = (segment) => {
    layout.shapes = [{ type: "line", x0: segment, x1: segment, yref: "paper", y0: 0, y1: 1, line: { width: 2, dash: "dot", color: "#888" } }];
    if (charts.get(node)?.drawn && node.data) Plotly.relayout(node, { shapes: layout.shapes });
  };
  return draw;
}
