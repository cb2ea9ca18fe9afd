"use strict";
// SONGS, the list, stands in songs.js; what a song has beside is in a file of its own, which calls
// `show` when it is loaded. Pages from file:// may read no other files.

const NAMES = ["mixture", "vocals", "accompaniment"];
const FOLDER = "index_files/";
const $ = (id) => document.getElementById(id);
const decimals = (value, digits) => value.toFixed(digits).replace("-", "−");

function element(kind, text = "", settings = {}) {
  return Object.assign(document.createElement(kind), { textContent: text, ...settings });
}

function clock(seconds, digits = 0) {
  const whole = Math.floor(seconds / 60);
  const minutes = whole >= 60 ? `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}` : whole;
  const unit = 10 ** digits;
  const rest = (Math.floor((seconds % 60) * unit) / unit).toFixed(digits);
  return `${minutes}:${rest.padStart(digits ? 3 + digits : 2, "0")}`;
}

/* Several files played as one. Browsers give the samples of files to no page, so that each has an
   <audio>. They start together when all of them are ready, which most often is exact; what is
   missing is made up by speed, until less than 1.5 ms remain. Then the clock of the device, which
   they share, keeps them together. */
class Transport {
  #parts = new Map();
  #turn = 0;
  #target = null; // where a jump leads that is not done
  playing = false;

  constructor(changed, lost) {
    this.changed = changed;
    this.lost = lost;
  }

  load(files, seconds) {
    this.pause();
    for (const part of this.#parts.values()) part.removeAttribute("src");
    this.#parts = new Map();
    this.#turn += 1;
    this.#target = null;
    this.seconds = seconds;
    for (const name of NAMES.filter((one) => files[one]).reverse()) {
      const part = new Audio();
      part.preload = "auto";
      part.preservesPitch = false;
      part.addEventListener("error", () => this.#drop(name, part));
      part.addEventListener("ended", () => part === this.#first && this.changed("ended"));
      part.src = files[name];
      this.#parts.set(name, part);
    }
  }

  get #first() {
    return this.#parts.values().next().value; // a stem, as the mixture comes last
  }

  get time() {
    return this.#target ?? this.#first?.currentTime ?? 0;
  }

  has(name) {
    return this.#parts.has(name);
  }

  volume(name, volume) {
    const part = this.#parts.get(name);
    if (part) [part.volume, part.muted] = [volume, volume === 0];
  }

  play(from = this.time) {
    this.playing = true;
    this.seek(from);
  }

  pause() {
    this.playing = false;
    for (const part of this.#parts.values()) part.pause();
    this.changed("paused");
  }

  async seek(seconds) {
    const turn = ++this.#turn;
    this.#target = Math.max(0, Math.min(seconds, this.seconds - 0.05));
    const parts = [...this.#parts.values()];
    for (const part of parts) part.pause();
    this.changed("moved");
    await Promise.all(parts.map((part) => moved(part, this.#target)));
    if (turn !== this.#turn) return;
    this.#target = null;
    if (this.playing) {
      await Promise.all(parts.map((part) => part.play().catch((error) => {
        if (error.name === "NotAllowedError") this.pause();
      })));
    }
  }

  keepTogether() {
    if (!this.playing || this.#target !== null) return;
    const [first, ...others] = this.#parts.values();
    for (const part of others) {
      const late = part.ended || part.paused ? 0 : first.currentTime - part.currentTime;
      if (Math.abs(late) > 0.25) return void this.seek(first.currentTime);
      const rate = Math.abs(late) > 0.0015 ? 1 + 0.02 * Math.sign(late) : 1;
      if (part.playbackRate !== rate) part.playbackRate = rate;
    }
  }

  #drop(name, part) {
    if (this.#parts.get(name) !== part) return;
    this.#parts.delete(name);
    this.lost(name);
  }
}

function happened(part, ...events) {
  return new Promise((resolve) => {
    for (const event of [...events, "error"]) part.addEventListener(event, resolve, { once: true });
  });
}

async function moved(part, seconds) {
  if (part.readyState < 1) await happened(part, "loadedmetadata");
  if (part.error) return;
  if (part.currentTime !== seconds) {
    part.currentTime = seconds;
    if (part.seeking) await happened(part, "seeked");
  }
  if (part.readyState < 3 && !part.error) await happened(part, "canplay", "canplaythrough", "ended");
}

const transport = new Transport(changed, lost);
let song = null;
let detail = null;
let solo = new Set();
let muted = new Set(["mixture"]);
let range = null; // [from, to] in seconds
let looping = false;
let tracks = []; // those that are shown: { name, lane, canvas, solo, mute, wave }

// The list

const rows = SONGS.map((one) => {
  const row = element("tr");
  const button = element("button", one.name, { type: "button", tabIndex: -1 });
  button.addEventListener("click", () => (one === song && detail ? toggle() : choose(one)));
  const wrong = one.status === "done" ? "" : one.status;
  const notes = one.notes.length ? `${one.notes.length} note${one.notes.length > 1 ? "s" : ""}` : "";
  const small = element("small", [one.folder, notes].filter(Boolean).join(" · "));
  if (wrong) small.prepend(element("span", wrong, { className: "bad" }), small.textContent ? " · " : "");
  if (small.textContent) button.append(small);
  const level = (name) => (one.levels?.[name] === undefined ? "" : decimals(one.levels[name], 1));
  const cells = ["", one.seconds === undefined ? "" : clock(one.seconds),
    typeof one.share === "number" ? `${Math.round(100 * one.share)} %` : "", level("vocals"), level("accompaniment")];
  row.append(...cells.map((text) => element("td", text)));
  row.firstChild.append(button);
  return { one, row, button };
});

function key(one, by) {
  if (by === "name") return `${one.folder}/${one.name}`.toLowerCase();
  return (by === "seconds" || by === "share" ? one[by] : one.levels?.[by]) ?? Infinity;
}

function sort(button) {
  const head = button.closest("th");
  const way = head.ariaSort === "ascending" ? "descending" : "ascending";
  for (const other of document.querySelectorAll("th")) other.ariaSort = null;
  head.ariaSort = way;
  const sign = way === "ascending" ? 1 : -1;
  const by = button.dataset.by;
  rows.sort((a, b) => sign * (key(a.one, by) < key(b.one, by) ? -1 : key(a.one, by) > key(b.one, by)));
  $("songs").replaceChildren(...rows.map(({ row }) => row));
}

function find(text) {
  const words = text.toLowerCase().split(/\s+/);
  for (const { one, row } of rows) {
    const name = `${one.folder}/${one.name} ${one.status}`.toLowerCase();
    row.hidden = !words.every((word) => name.includes(word));
  }
  stopAtOne();
}

const shown = () => rows.filter(({ row }) => !row.hidden);

function stopAtOne() { // of Tab, in the whole list
  const stop = shown().find(({ one }) => one === song) ?? shown()[0];
  for (const { button } of rows) button.tabIndex = button === stop?.button ? 0 : -1;
}

function step(by) {
  const inList = document.activeElement.closest("tbody button");
  const from = shown().findIndex(({ one, button }) => (inList ? button === inList : one === song));
  const next = shown()[from + by];
  if (!next) return;
  choose(next.one);
  if (inList) next.button.focus();
  next.row.scrollIntoView({ block: "nearest" });
}

// A song

function choose(one) {
  if (detail) transport.load({}, 0);
  [song, detail, range, looping] = [one, null, null, false];
  for (const { one: other, button } of rows) {
    if (other === one) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
  }
  stopAtOne();
  $("title").textContent = document.title = one.name;
  $("about").textContent = one.folder;
  $("notes").replaceChildren(...one.notes.map((note) => element("li", note)));
  if (one.status !== "done") {
    const error = one.error ?? "The stems were not finished; run it again with --resume.";
    $("notes").prepend(element("li", error, { className: "bad" }));
  }
  $("player").hidden = true;
  location.replace(`#${one.id}`);
  if (one.seconds !== undefined) {
    document.head.append(element("script", "", { src: `${FOLDER}${one.id}.js` })); // calls `show`
  }
}

function show(found) {
  if (found.id !== song?.id || detail) return;
  detail = found;
  const about = [song.folder, clock(found.seconds), `${found.sample_rate / 1000} kHz`,
    ["", "mono", "stereo"][found.channels] ?? `${found.channels} channels`];
  if (typeof found.share === "number") about.push(`sung ${Math.round(100 * found.share)} % of the time`);
  $("about").textContent = about.filter(Boolean).join(" · ");
  $("player").hidden = false;
  $("surface").ariaValueMax = found.seconds.toFixed(1);
  makeTracks();
  setLoop(false, null);
  transport.load(found.files, found.seconds);
  listen();
}

function makeTracks() {
  for (const old of document.querySelectorAll(".name, .lane")) old.remove();
  const names = NAMES.filter((name) => detail.waves[name]);
  tracks = names.map((name, number) => {
    const head = element("div", "", { className: "name" });
    head.append(element("strong", name[0].toUpperCase() + name.slice(1)),
      element("small", `${decimals(detail.levels[name], 1)} dBFS`));
    const lane = element("div", "", { className: "lane" });
    const canvas = element("canvas");
    const wave = Uint8Array.from(atob(detail.waves[name]), (letter) => letter.charCodeAt(0));
    const wide = (detail.column_seconds * wave.length * 50) / detail.seconds; // per cent
    lane.style.backgroundImage = `url("${FOLDER}${detail.id}.png")`;
    lane.style.backgroundSize = `${wide}% ${100 * names.length}%`;
    lane.style.backgroundPosition = `0 ${names.length > 1 ? (100 * number) / (names.length - 1) : 0}%`;
    lane.append(canvas);
    for (const part of [head, lane]) part.style.setProperty("--colour", `var(--${name})`);
    const buttons = ["Solo", "Mute"].map((word) => {
      const button = element("button", word, { type: "button", ariaLabel: `${word} ${name}` });
      button.addEventListener("click", () => (word === "Solo" ? setSolo(name) : setMute(name)));
      head.append(button);
      return button;
    });
    [head, lane].forEach((part, column) => {
      [part.style.gridRow, part.style.gridColumn] = [number + 1, column + 1];
    });
    $("surface").before(head, lane);
    return { name, lane, canvas, wave, solo: buttons[0], mute: buttons[1] };
  });
  $("surface").style.gridRow = `1 / ${names.length + 1}`;
  drawRuler();
  tracks.forEach(drawWave);
}

function drawWave({ name, canvas, wave }) {
  const count = wave.length / 2;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight].map((one) => one * devicePixelRatio);
  [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d");
  context.fillStyle = getComputedStyle(canvas).getPropertyValue(`--${name}`);
  const column = (detail.column_seconds * width) / detail.seconds;
  for (const [first, alpha] of [[0, 0.35], [count, 0.8]]) {
    context.globalAlpha = alpha;
    context.beginPath();
    for (let i = 0; i < count; i += 1) {
      const half = Math.max(0.5, (wave[first + i] / 255) * height * 0.48);
      context.rect(i * column, height / 2 - half, column, 2 * half);
    }
    context.fill();
  }
}

function drawRuler() {
  const fits = [0.1, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800];
  const every = fits.find((one) => detail.seconds / one <= 9) ?? 3600;
  const marks = [];
  for (let at = 0; at < detail.seconds * 0.98; at += every) {
    const mark = element("span", clock(at, every < 1 ? 1 : 0));
    mark.style.left = `${(100 * at) / detail.seconds}%`;
    marks.push(mark);
  }
  $("ruler").replaceChildren(...marks);
}

// Listening

const heard = (name) => (solo.size ? solo.has(name) : !muted.has(name));

function listen() {
  const gain = 10 ** ((detail.gain_db ?? 0) / 20); // of the sum over the original
  const compares = transport.has("mixture");
  for (const { name, lane, solo: alone, mute } of tracks) {
    const on = heard(name) || (name !== "mixture" && !compares && heard("mixture"));
    transport.volume(name, on ? Math.min(1, name === "mixture" ? gain : 1 / gain) : 0);
    lane.classList.toggle("off", !heard(name));
    alone.ariaPressed = solo.has(name);
    mute.ariaPressed = muted.has(name);
  }
  const both = tracks.length === 3;
  const original = heard("mixture") && !heard("vocals") && !heard("accompaniment");
  $("original").ariaPressed = compares && original;
  $("sum").ariaPressed = both && !heard("mixture") && heard("vocals") && heard("accompaniment");
  $("original").disabled = !compares;
  $("sum").disabled = !both;
  const quieter = detail.gain_db > 0 ? "sum" : "mixture";
  const less = Math.abs(detail.gain_db ?? 0);
  $("match").textContent = compares
    ? less >= 0.05 ? `the ${quieter} is turned down by ${decimals(less, 1)} dB` : "at one level"
    : both ? `The mixture is the stems' sum: ${detail.lack ?? "the original cannot be played here"}` : "";
}

function say(text) {
  $("said").textContent = text;
}

function setSolo(name) {
  solo = solo.has(name) ? new Set() : new Set([name]);
  listen();
  say(solo.size ? `${name} alone` : "no solo");
}

function setMute(name) {
  muted[muted.has(name) ? "delete" : "add"](name);
  listen();
  say(`${name} ${muted.has(name) ? "muted" : "heard"}`);
}

function compare(withOriginal) {
  if (!transport.has("mixture")) return;
  solo = new Set(withOriginal ? ["mixture"] : []);
  muted = new Set(["mixture"]);
  listen();
  say(withOriginal ? "mixture" : "sum of the stems");
}

function lost(name) {
  if (name === "mixture") detail.lack = "this browser cannot play the original from here";
  else $("notes").append(element("li", `${name}: this browser cannot play the file`, { className: "bad" }));
  listen();
}

function toggle() {
  if (!detail) return;
  if (transport.playing) transport.pause();
  else transport.play(transport.time < detail.seconds - 0.06 ? undefined : (range?.[0] ?? 0));
}

function jump(seconds) {
  if (!detail) return;
  if (looping && seconds >= range?.[1]) setLoop(false);
  transport.seek(seconds);
}

function setLoop(on, at = range) {
  [looping, range] = [on, at];
  $("loop").ariaPressed = on;
  $("loop").textContent = on && range ? `Loop ${range.map((one) => clock(one, 1)).join("–")}` : "Loop";
  $("range").hidden = !range;
  if (range) {
    const [left, right] = range.map((one) => (100 * one) / detail.seconds);
    Object.assign($("range").style, { left: `${left}%`, width: `${right - left}%` });
  }
}

function bound(end) {
  const other = range?.[1 - end] ?? (end ? 0 : detail.seconds);
  const edges = end ? [other, transport.time] : [transport.time, other];
  if (edges[1] - edges[0] > 0.05) setLoop(true, edges);
}

function changed(what) {
  if (what === "ended") {
    if (looping) transport.seek(range?.[0] ?? 0);
    else transport.pause();
  }
  $("play").textContent = transport.playing ? "Pause" : "Play";
  if (detail) tick();
}

function tick() {
  const at = transport.time;
  if (transport.playing && looping && range && at >= range[1]) transport.seek(range[0]);
  transport.keepTogether();
  $("clock").textContent = `${clock(at, 1)} / ${clock(detail.seconds)}`;
  $("head").style.left = `${(100 * at) / detail.seconds}%`;
  const whole = clock(at);
  if ($("surface").ariaValueText !== whole) {
    [$("surface").ariaValueText, $("surface").ariaValueNow] = [whole, at.toFixed(1)];
  }
}

// Mouse and keys

const surface = $("surface");
let drag = null;
const under = (event) => {
  const box = surface.getBoundingClientRect();
  return Math.max(0, Math.min(1, (event.clientX - box.left) / box.width)) * detail.seconds;
};
surface.addEventListener("pointerdown", (event) => {
  if (event.button !== 0) return;
  drag = { from: under(event), x: event.clientX, far: false };
  surface.setPointerCapture(event.pointerId);
});
surface.addEventListener("pointermove", (event) => {
  if (!drag) return;
  drag.far ||= Math.abs(event.clientX - drag.x) > 4;
  if (drag.far) setLoop(true, [drag.from, under(event)].sort((a, b) => a - b));
});
surface.addEventListener("pointerup", () => {
  if (drag) jump(drag.far ? range[0] : drag.from);
  drag = null;
});
surface.addEventListener("pointercancel", () => (drag = null));

const KEYS = {
  " ": toggle,
  ArrowLeft: (event) => jump(transport.time - (event.shiftKey ? 1 : 5)),
  ArrowRight: (event) => jump(transport.time + (event.shiftKey ? 1 : 5)),
  ArrowUp: () => step(-1),
  ArrowDown: () => step(1),
  Home: () => jump(0),
  a: () => compare(!($("original").ariaPressed === "true")),
  l: () => detail && setLoop(!looping),
  i: () => detail && bound(0),
  o: () => detail && bound(1),
  Escape: () => detail && setLoop(false, null),
};
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input")) return;
  if (event.key === " " && event.target.matches("button")) return; // it is pressed
  const digit = /^(?:Digit|Numpad)([123])$/.exec(event.code);
  const act = digit ? () => detail && (event.shiftKey ? setMute : setSolo)(NAMES[digit[1] - 1])
    : KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (!act) return;
  event.preventDefault();
  act(event);
});
for (const button of document.querySelectorAll("th button")) button.addEventListener("click", () => sort(button));
$("find").addEventListener("input", () => find($("find").value));
$("play").addEventListener("click", toggle);
$("loop").addEventListener("click", () => setLoop(!looping));
$("original").addEventListener("click", () => compare(true));
$("sum").addEventListener("click", () => compare(false));
new ResizeObserver(() => detail && tracks.forEach(drawWave)).observe($("tracks"));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => detail && tracks.forEach(drawWave));
setInterval(() => detail && transport.playing && tick(), 250); // where the page is hidden, too
(function frame() {
  if (detail && transport.playing) tick();
  requestAnimationFrame(frame);
})();

const failed = SONGS.filter((one) => one.status !== "done").length;
$("summary").textContent = `${SONGS.length} song${SONGS.length > 1 ? "s" : ""}${failed ? `, ${failed} without stems` : ""}`;
$("songs").append(...rows.map(({ row }) => row));
stopAtOne();
const asked = rows.find(({ one }) => `#${one.id}` === location.hash) ?? rows.find(({ one }) => one.seconds !== undefined);
if (asked) choose(asked.one);
