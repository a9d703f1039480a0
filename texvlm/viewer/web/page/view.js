// The page: a socket that comes back, the newest picture, and controls. See messages.py for what is said.

import { Plot, fillTable, pointIn } from "./draw.js";
import { PictureRecorder, keepFile } from "./record.js";
import { Wishes } from "./wishes.js";
import { XrView } from "./xr.js";

const $ = (id) => document.getElementById(id);
const FIRST_RETRY_MS = 250, LONGEST_RETRY_MS = 4000;
const NUDGE = 0.02; // of the frame, that an arrow key moves the fixation
const FORGET_MS = 1000; // a move that no picture shows by then was overtaken by somebody else's
const TALLEST = 0.68; // of the window, that a picture may take
const LATENCIES = 1000; // newest ones kept
const REFUSED = 1006; // what a browser calls every socket that ended without a word

// What tests and the curious look at: latencies_ms from a move until its picture was drawn.
const meter = { pictures: 0, packets: 0, connections: 0, bytes: 0, latencies_ms: [], skipped: 0, times: [] };

const view = {
  meter,
  socket: null,
  state: null,
  picture: null, // its header
  bitmap: null,
  fixation: [0.5, 0.5],
  mode: "both",
  room: null, // pixels to fill, where that is not the page's room
  boxFor,
  point: moveTo,
  onpicture: () => {},
};
window.texvlm = view;

// ---------------------------------------------------------------- the socket

let retryMs = FIRST_RETRY_MS;
let speaking = null; // the newest socket that said something

function connect() {
  const url = new URL("socket" + location.search, location.href);
  url.protocol = url.protocol.replace("http", "ws");
  const socket = (view.socket = new WebSocket(url));
  socket.binaryType = "arraybuffer";
  socket.onopen = () => {
    sentAt.clear();
    wishes.restart();
    watch();
  };
  socket.onmessage = (event) => take(socket, event.data);
  socket.onclose = (event) => {
    const what = meter.connections ? "Connection lost" : "No connection";
    say(`${what}${event.reason && `: ${event.reason}`}; trying again…`, true);
    if (event.code === REFUSED) explain(what);
    setTimeout(connect, retryMs);
    retryMs = Math.min(2 * retryMs, LONGEST_RETRY_MS);
  };
}

// A browser tells nobody why a socket was refused; the page's own address answers the same, in words.
async function explain(what) {
  const answer = await fetch(location.href).catch(() => null);
  if (answer?.status === 403 && view.socket.readyState !== WebSocket.OPEN) say(`${what}: ${(await answer.text()).trim()}`, true);
}

function send(message) {
  if (view.socket.readyState === WebSocket.OPEN) view.socket.send(JSON.stringify(message));
}

async function take(socket, packet) {
  const length = new DataView(packet).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(packet, 4, length)));
  if (speaking !== socket) {
    speaking = socket; // only now: a viewer that has no room for us accepts, too, and says nothing
    retryMs = FIRST_RETRY_MS;
    meter.connections += 1;
    say("Connected");
  }
  meter.packets += 1;
  meter.bytes += packet.byteLength;
  try {
    if (header.state) show(header.state, header.heard);
    (header.notices || []).forEach((words) => say(words));
    if (header.picture) {
      const bitmap = await createImageBitmap(new Blob([new Uint8Array(packet, 4 + length)], { type: "image/jpeg" }));
      if (socket === view.socket) draw(header, bitmap); // else it is of a connection that is over
      else bitmap.close();
    }
  } finally {
    if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ ack: header.packet }));
  }
}

function say(words, lost = false) {
  setText("status", words); // the same words again are not spoken again
  $("status").classList.toggle("lost", lost);
}

// ---------------------------------------------------------------- the picture

const canvas = $("picture"), pen = canvas.getContext("2d");
const sentAt = new Map(); // number of a move -> when it was made, ms
let moves = 0;

function draw(header, bitmap) {
  const picture = header.picture;
  const resized = canvas.width !== bitmap.width || canvas.height !== bitmap.height;
  if (resized) [canvas.width, canvas.height] = [bitmap.width, bitmap.height];
  pen.drawImage(bitmap, 0, 0);
  view.bitmap?.close();
  view.bitmap = bitmap;
  view.picture = picture;
  if (resized) fit();
  meter.pictures += 1;
  meter.skipped = header.skipped;
  meter.times.push(performance.now());
  if (meter.times.length > 120) meter.times.shift();
  noteLatency(header.seen);
  // an older picture must not take back a move that is still on its way
  const moving = waiting || [...sentAt.values()].some((at) => at > performance.now() - FORGET_MS);
  if (picture.fixations.length && (!moving || wishes.wanted("policy", view.state?.policy))) showFixation(picture.fixations[0]);
  view.onpicture(bitmap);
}

// Whoever moved it: the next step of a slider or an arrow key goes on from there.
function showFixation(place) {
  view.fixation = place;
  ["across", "down"].forEach((id, k) => {
    if (Math.abs($(id).value - place[k]) > $(id).step / 2) $(id).value = place[k];
  });
}

// The first picture that shows a move tells how long that took; moves before it were overtaken.
function noteLatency(seen) {
  const sent = sentAt.get(seen);
  if (sent === undefined) return;
  meter.latencies_ms.push(performance.now() - sent);
  if (meter.latencies_ms.length > LATENCIES) meter.latencies_ms.shift();
  for (const number of sentAt.keys()) if (number <= seen) sentAt.delete(number);
}

// As large as the stage holds, in the picture's own shape.
function fit() {
  const room = roomFor();
  const scale = Math.min(room[0] / canvas.width, room[1] / canvas.height);
  canvas.style.width = `${canvas.width * scale}px`;
  canvas.style.height = `${canvas.height * scale}px`;
}

function roomFor() {
  return [Math.max(canvas.parentElement.clientWidth, 64), Math.max(TALLEST * window.innerHeight, 200)];
}

// Pixels to ask for.
function boxFor() {
  const ratio = window.devicePixelRatio || 1;
  const room = view.room ?? roomFor().map((side) => Math.round(side * ratio));
  return room.map((side) => Math.min(8192, side));
}

function watch() {
  send({ watch: view.mode, box: boxFor() });
}

let chosen = false; // somebody here chose a picture

function setMode(mode) {
  chosen = true;
  view.mode = mode;
  document.querySelector(`input[name=mode][value=${mode}]`).checked = true;
  watch();
}
view.setMode = setMode;

let resizing = 0;
function resize() {
  clearTimeout(resizing);
  resizing = setTimeout(() => { watch(); if (view.picture) fit(); view.plot.draw(); }, 100);
}
new ResizeObserver(resize).observe(canvas.parentElement);
window.addEventListener("resize", resize); // its height, too

// ---------------------------------------------------------------- the fixation

let pending = null, waiting = false;

// Moves the fixation; of several moves before the next repaint the last one is sent.
function moveTo(u, v, at = performance.now()) {
  pending = [u, v, at];
  if (waiting) return;
  waiting = true;
  // a timer besides: an immersive session stops the page's own repaints
  const timer = setTimeout(flush, 20), frame = requestAnimationFrame(flush);
  function flush() {
    clearTimeout(timer);
    cancelAnimationFrame(frame);
    const [u, v, at] = pending;
    waiting = false;
    if (view.socket.readyState !== WebSocket.OPEN) return;
    moves += 1;
    sentAt.set(moves, at);
    if (sentAt.size > 500) sentAt.delete(sentAt.keys().next().value);
    send({ point: [u, v], number: moves });
    showFixation([u, v]);
  }
}

function follow(event) {
  if (!view.picture) return;
  const box = canvas.getBoundingClientRect();
  const x = ((event.clientX - box.left) / box.width) * canvas.width;
  const y = ((event.clientY - box.top) / box.height) * canvas.height;
  moveTo(...pointIn(view.picture.places, x, y), event.timeStamp);
}

canvas.addEventListener("pointermove", follow);
canvas.addEventListener("pointerdown", (event) => {
  canvas.setPointerCapture(event.pointerId);
  takeOver();
  follow(event);
});

// ---------------------------------------------------------------- controls

const wishes = new Wishes(send);

function askPause(on) {
  wishes.ask("pause", on, { pause: on });
}

function askPolicy(on) {
  wishes.ask("policy", on, { policy: on });
}

// The pointer, not the policy, moves the fixation from now on.
function takeOver() {
  if (wishes.wanted("policy", view.state?.policy)) askPolicy(false);
}

const actions = {
  pause: () => askPause(!wishes.wanted("pause", view.state?.paused)),
  step: () => wishes.command({ step: 1 }),
  fewer: () => wishes.command({ tokens: -1 }),
  more: () => wishes.command({ tokens: 1 }),
  stricter: () => wishes.command({ threshold: -1 }),
  looser: () => wishes.command({ threshold: 1 }),
  save,
  record: () => recorder.toggle(),
};
for (const [id, action] of Object.entries(actions)) $(id).addEventListener("click", action);
$("layout").addEventListener("change", () => wishes.ask("layout", $("layout").value, { layout: $("layout").value }));
$("policy").addEventListener("change", () => askPolicy($("policy").checked));
$("modes").addEventListener("change", (event) => setMode(event.target.value));
["across", "down"].forEach((id, k) => {
  $(id).addEventListener("input", () => {
    takeOver();
    moveTo(...view.fixation.with(k, Number($(id).value)));
  });
});
$("controls").addEventListener("submit", (event) => event.preventDefault());

const MODES = ["frame", "reconstruction", "tokens", "changed", "reencoded", "both"];
const keys = {
  " ": actions.pause,
  ".": actions.step,
  "+": actions.more,
  "=": actions.more,
  "-": actions.fewer,
  "]": actions.looser,
  "[": actions.stricter,
  l: () => cycleLayout(1),
  L: () => cycleLayout(-1),
  g: () => askPolicy(!wishes.wanted("policy", view.state?.policy)),
  s: save,
  r: actions.record,
  ArrowLeft: () => nudge(-NUDGE, 0),
  ArrowRight: () => nudge(NUDGE, 0),
  ArrowUp: () => nudge(0, -NUDGE),
  ArrowDown: () => nudge(0, NUDGE),
  ...Object.fromEntries(MODES.map((mode, k) => [String(k + 1), () => setMode(mode)])),
};

const ONCE = [" ", "s", "r", "g"]; // a key that is held down is pressed once

// Only where the picture has the focus: single keys belong to the browser and to screen readers elsewhere.
canvas.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || !(event.key in keys)) return;
  event.preventDefault();
  if (!event.repeat || !ONCE.includes(event.key)) keys[event.key]();
});

function nudge(u, v) {
  const within = (value) => Math.min(Math.max(value, 0), 1);
  takeOver();
  view.fixation = [within(view.fixation[0] + u), within(view.fixation[1] + v)];
  moveTo(...view.fixation);
}

function cycleLayout(step) {
  const names = view.state?.layouts || [], at = names.indexOf(wishes.wanted("layout", view.state?.layout));
  if (!names.length) return;
  const name = names[(at + step + names.length) % names.length];
  wishes.ask("layout", name, { layout: name });
}

// The picture without loss, as large as the frame, into a file of the browser's choosing.
async function save() {
  const query = new URLSearchParams(location.search);
  query.set("mode", view.mode);
  const name = `texvlm-${view.picture?.number ?? 0}-${view.mode}.png`;
  try {
    const answer = await fetch(`picture.png?${query}`);
    if (!answer.ok) return say(await answer.text());
    keepFile(await answer.blob(), name);
    say(`Saved ${name}`);
  } catch (error) {
    say(`Not saved: ${error.message}; is the viewer still there?`);
  }
}

const recorder = new PictureRecorder(canvas, $("record"), say);

// ---------------------------------------------------------------- numbers

view.plot = new Plot($("plot"));

function setText(id, words) {
  if ($(id).textContent !== words) $(id).textContent = words;
}

function show(state, heard) {
  const before = view.state;
  view.state = state;
  setText("input", `${state.input}, ${state.size.join(" × ")}, ${state.backend}`);
  document.title = `${state.input} – texvlm view`;
  setText("tokens", `${state.tokens} tokens`);
  setText("threshold", `${Number(state.threshold.toPrecision(3))} / 255`);
  $("pause").setAttribute("aria-pressed", wishes.settle("pause", state.paused, heard));
  $("policy").disabled = !state.has_policy;
  $("policy").checked = wishes.settle("policy", state.policy, heard);
  if (String(before?.layouts) !== String(state.layouts)) {
    $("layout").replaceChildren(...state.layouts.map((name) => new Option(name)));
  }
  const layout = wishes.settle("layout", state.layout, heard);
  if ($("layout").value !== layout) $("layout").value = layout;
  if (!before && !chosen && state.first_mode !== view.mode) setMode(state.first_mode);
  if (before && before.layout !== state.layout) say(`Layout ${state.layout}, ${state.tokens} tokens`);
  if (before && before.paused !== state.paused) say(state.paused ? "Paused" : "Playing");
  if (before && before.policy !== state.policy) say(`The ${state.policy ? "look policy" : "pointer"} moves the fixation`);
  if (state.finished && !before?.finished) say("The input has ended");
  canvas.setAttribute("aria-label", `${state.input}, ${state.layout} layout, ${state.tokens} tokens`);
  const times = meter.times.filter((time) => time > performance.now() - 1000).length;
  const latency = meter.latencies_ms.at(-1);
  fillTable($("facts"), [
    ["frames/s", state.frames_per_s.toFixed(1)],
    ["pictures/s here", String(times)],
    ["move to picture", latency === undefined ? "–" : `${latency.toFixed(0)} ms`],
    ["sampled anew", `${state.tokens_sampled} of ${state.tokens}`],
    ["changed tiles", `${(100 * state.tiles_share).toFixed(1)} %`],
    ["uploaded", `${(state.bytes_uploaded / 1e6).toFixed(2)} MB`],
    ["frames dropped", String(state.dropped)],
    ["pictures skipped here", String(meter.skipped)],
    ["clients", String(state.clients)],
    ["malformed messages", String(state.malformed)],
  ]);
  view.plot.add(state);
  fillTable($("stages"), Object.entries(state.stages_ms).map(([name, ms]) => [name, ms.toFixed(2)]), (name) => view.plot.colour(name));
  view.plot.draw();
}

// ---------------------------------------------------------------- begin

view.xr = new XrView(view, $("xr"), $("xr-why"));
connect();
