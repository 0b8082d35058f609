"use strict";
// Boards of tiles, and the replay of a puzzle: slider, keys, bars. Text from the data becomes text nodes only.

function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "class") node.className = value;
    else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

const percent = (share) => (share === null ? "–" : `${(100 * share).toFixed(1)} %`);
const cells = (n) => (n === 1 ? "1 cell" : `${n} cells`);
const figure = (x, digits = 3) => (x === null || x === undefined ? "–" : String(Number(x.toPrecision(digits))));

function unpack(text, bytes) {
  const raw = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  return bytes === 1 ? raw : Uint16Array.from({ length: raw.length / 2 }, (_, k) => raw[2 * k] + 256 * raw[2 * k + 1]);
}

const isMistake = ([, ink, ground]) => ink === "mistake" || (ground || "").startsWith("mistake");
const color = (name) => (name.startsWith("#") ? name : `var(--${name})`);

function dress(tile, look) {
  const [text, ink, ground] = look;
  tile.textContent = text;
  tile.style.color = color(ink);
  tile.style.background = color(ground || "paper");
  tile.classList.toggle("mistake", isMistake(look) && (text !== "" || ground === "mistake" || ground === "mistake-cell"));
  tile.classList.toggle("given", ink === "given" && ground === "given-cell");
  tile.classList.toggle("long", text.length > 2);
}

/** A trajectory's panels; `show(now, before)` draws a frame and marks the tiles that differ from another. */
class Boards {
  constructor(layout, looks) {
    this.looks = looks;
    this.tiles = [];
    this.shown = [];
    this.node = el("div", { class: "panels" });
    for (const panel of layout) this.node.append(this.panel(panel));
  }
  panel({ title, columns, tiles, box }) {
    const [down, across] = box;
    const board = el("div", { class: "board" });
    for (let k = 0; k < tiles; k++) {
      const [row, column] = [Math.floor(k / columns), k % columns];
      let kind = "tile";
      if (across && (column + 1) % across === 0 && column + 1 < columns) kind += " right-edge";
      if (down && (row + 1) % down === 0 && (row + 1) * columns < tiles) kind += " lower-edge";
      const tile = el("div", { class: kind });
      this.tiles.push(tile);
      board.append(tile);
    }
    const node = el("figure", { class: tiles <= (columns * columns) / 2 ? "panel strip" : "panel" }, board);
    node.style.setProperty("--columns", columns);
    if (title) node.prepend(el("figcaption", {}, title));
    return node;
  }
  show(now, before) {
    let changed = 0;
    this.tiles.forEach((tile, k) => {
      if (this.shown[k] !== now[k]) dress(tile, this.looks[now[k]]);
      const differs = before !== null && before[k] !== now[k];
      tile.classList.toggle("changed", differs);
      changed += differs;
    });
    this.shown = now;
    return changed;
  }
}

const BARS = [["q_halt", "halt", "halt"], ["q_continue", "continue", "continue"], ["confidence", "confidence", ""],
  ["cell_accuracy", "cells right", ""]];
const NUMBERS = [["margin", "margin"], ["entropy", "entropy"], ["residual_H", "residual z_H"], ["residual_L", "residual z_L"], ["kl", "KL"]];

class Bars {
  constructor(trajectory) {
    this.trajectory = trajectory;
    this.head = el("div", { class: "head", role: "status" });
    this.node = el("div", { class: "bars" }, this.head);
    this.rows = [];
    for (const [name, words, look] of [...BARS, ...NUMBERS.map((pair) => [...pair, null])]) {
      if (!(name in trajectory)) continue;
      const fill = el("div", { class: `fill ${look || ""}` });
      const value = el("span", {}, "–");
      this.node.append(el("span", {}, words), look === null ? el("span") : el("div", { class: "track" }, fill), value);
      this.rows.push({ name, fill, value });
    }
  }
  show(segment, words) {
    this.head.textContent = words;
    for (const { name, fill, value } of this.rows) {
      const x = segment === 0 ? null : this.trajectory[name][segment - 1];
      value.textContent = figure(x);
      fill.style.width = `${100 * Math.min(1, Math.max(0, x || 0))}%`;
    }
  }
}

class Replay {
  constructor(data, chart) {
    this.data = data;
    this.chart = chart;
    this.timer = null;
    this.select = el("select", { "aria-label": "Puzzle", onchange: () => this.open(Number(this.select.value)) });
    data.puzzles.forEach((puzzle, k) => {
      const rating = puzzle.rating === null ? "" : `, rating ${figure(puzzle.rating)}`;
      this.select.append(el("option", { value: k }, `Puzzle ${puzzle.number}: ${puzzle.outcome}${rating}`));
    });
    this.slider = el("input", { type: "range", min: 0, step: 1, "aria-label": "Segment",
      oninput: () => { this.pause(); this.go(Number(this.slider.value)); } });
    this.playing = el("button", { type: "button", onclick: () => this.play() }, "Play");
    this.count = el("output", {});
    this.steps = el("div", { class: "steps", role: "group", "aria-label": "Segments" });
    this.space = el("div", { class: "trajectories" });
    this.node = el("div", {},
      el("p", { class: "note" }, "Keys: ← → step, ↑ ↓ another puzzle, space plays, Home and End. " +
        "Segment 0 is the question. A corner marks a mistake, a frame a cell that changed in this segment."),
      el("div", { class: "controls" }, this.select),
      el("div", { class: "controls" }, this.playing, this.slider, this.count),
      this.steps, this.space);
    this.open(0);
  }
  open(number) {
    this.pause();
    this.number = number;
    this.puzzle = this.data.puzzles[number];
    this.select.value = number;
    const { looks, bytes } = this.data.tiles;
    const several = this.puzzle.trajectories.length > 1;
    this.parts = this.puzzle.trajectories.map((trajectory, k) => ({
      trajectory, name: several ? `Trajectory ${k + 1}: ` : "", boards: new Boards(this.puzzle.layout, looks),
      bars: new Bars(trajectory), frames: trajectory.frames.map((frame) => unpack(frame, bytes)) }));
    const broad = this.puzzle.layout.reduce((sum, { columns, tiles }) => sum + (tiles > (columns * columns) / 2 ? columns : 0), 0) > 40;
    this.space.replaceChildren(...this.parts.map(({ boards, bars }) => el("div", { class: broad ? "trajectory broad" : "trajectory" }, boards.node, bars.node)));
    this.last = Math.max(...this.parts.map(({ frames }) => frames.length)) - 1;
    this.slider.max = this.last;
    this.marks = Array.from({ length: this.last + 1 }, (_, segment) => this.mark(segment));
    this.steps.replaceChildren(...this.marks);
    this.go(1);
    if (this.chart) this.chart(this.puzzle);
  }
  mark(segment) {
    const right = segment > 0 && this.parts.some(({ trajectory }) => trajectory.valid[segment - 1]);
    const stops = segment === this.parts[0].trajectory.stopped;
    const words = segment === 0 ? "question" : `segment ${segment}, ${right ? "right" : "wrong"}${stops ? `, ${this.data.rule} stops here` : ""}`;
    const kind = `${segment === 0 ? "" : right ? "right" : "wrong"}${stops ? " stop" : ""}`;
    return el("button", { type: "button", class: kind, title: words, "aria-label": words,
      onclick: () => { this.pause(); this.go(segment); } }, String(segment));
  }
  go(segment) {
    this.segment = Math.min(this.last, Math.max(0, segment));
    this.slider.value = this.segment;
    this.count.textContent = `${this.segment} / ${this.last}`;
    this.marks.forEach((mark, k) => mark.setAttribute("aria-current", k === this.segment));
    for (const part of this.parts) {
      const at = Math.min(this.segment, part.frames.length - 1);
      const changed = part.boards.show(part.frames[at], at > 1 ? part.frames[at - 1] : null);
      part.boards.node.setAttribute("role", "img");
      part.bars.show(at, part.name + this.words(part, at, changed));
      part.boards.node.setAttribute("aria-label", part.bars.head.textContent);
    }
    if (this.chart) this.chart.at(this.segment);
  }
  words({ trajectory }, segment, changed) {
    if (segment === 0) return "The question";
    const stop = segment === trajectory.stopped ? `, ${this.data.rule} stops here` : "";
    const right = trajectory.correct[segment - 1] ? "right" : trajectory.valid[segment - 1] ? "right, another answer than the stored one" : `wrong in ${cells(trajectory.wrong[segment - 1])}`;
    return `Segment ${segment}: ${right}${segment > 1 ? `, ${changed} changed` : ""}${stop}`;
  }
  play() {
    if (this.timer) return this.pause();
    if (this.segment === this.last) this.go(0);
    this.playing.textContent = "Pause";
    this.timer = setInterval(() => (this.segment < this.last ? this.go(this.segment + 1) : this.pause()), 700);
  }
  pause() {
    clearInterval(this.timer);
    this.timer = null;
    this.playing.textContent = "Play";
  }
  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("select, summary, a, pre, .scroll")) return;
    const onSlider = event.target === this.slider, onButton = event.target.closest("button");
    const count = this.data.puzzles.length;
    const moves = { ArrowLeft: () => this.go(this.segment - 1), ArrowRight: () => this.go(this.segment + 1),
      Home: () => this.go(0), End: () => this.go(this.last),
      ArrowUp: () => this.open((this.number + count - 1) % count), ArrowDown: () => this.open((this.number + 1) % count),
      " ": () => this.play() };
    const move = moves[event.key];
    if (!move || (event.key === " " && onButton) || (onSlider && event.key !== " ")) return;
    if (event.key !== " " && !event.key.startsWith("ArrowL") && !event.key.startsWith("ArrowR") && !this.node.contains(event.target)) return;
    event.preventDefault();
    if (event.key !== " ") this.pause();
    move();
  }
}
