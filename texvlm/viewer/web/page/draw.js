// What the page draws by itself: where a point of the picture lies in the frame, and the plot of numbers.

// Colours of stages, in the order in which they first appear; told apart by lightness as well as by hue.
const COLOURS = ["#ffd84d", "#4fb3ff", "#ff7a59", "#8ce08c", "#c79bff", "#ff9ad5", "#66d9d0", "#d9d9d9"];
const SAMPLES = 240; // a minute of numbers, four a second

// (u, v) of the frame under a pixel of the picture: in the nearest part of it; beyond its edge, the edge.
export function pointIn(places, x, y) {
  const beside = ([left, , width]) => Math.max(left - x, x - left - width, 0);
  const [left, top, width, height] = places.reduce((near, place) => (beside(place) < beside(near) ? place : near));
  const within = (value) => Math.min(Math.max(value, 0), 1);
  return [within((x - left) / width), within((y - top) / height)];
}

// Keeps the numbers of the last minute and draws them: stage times stacked, tokens as lines.
export class Plot {
  constructor(canvas) {
    this.canvas = canvas;
    this.samples = [];
    this.stages = [];
  }

  colour(stage) {
    if (!this.stages.includes(stage)) this.stages.push(stage);
    return COLOURS[this.stages.indexOf(stage) % COLOURS.length];
  }

  add(state) {
    this.samples.push({ stages: state.stages_ms, tokens: state.tokens, sampled: state.tokens_sampled });
    if (this.samples.length > SAMPLES) this.samples.shift();
  }

  draw() {
    const canvas = this.canvas, ratio = window.devicePixelRatio || 1;
    const width = (canvas.width = Math.max(1, Math.round(canvas.clientWidth * ratio)));
    const height = (canvas.height = Math.max(1, Math.round(canvas.clientHeight * ratio)));
    const pen = canvas.getContext("2d"), step = width / SAMPLES;
    const half = height / 2, pad = 16 * ratio;
    pen.font = `${11 * ratio}px system-ui, sans-serif`;
    const totals = this.samples.map((sample) => Object.values(sample.stages).reduce((sum, ms) => sum + ms, 0));
    const mostMs = Math.max(1, 1.2 * ([...totals].sort((a, b) => a - b)[Math.floor(0.95 * totals.length)] ?? 1)); // rare ones are cut
    this.samples.forEach((sample, k) => {
      let y = half;
      for (const [stage, ms] of Object.entries(sample.stages)) {
        const tall = Math.min((ms / mostMs) * (half - pad), y - pad);
        pen.fillStyle = this.colour(stage);
        pen.fillRect(k * step, y - tall, Math.ceil(step), tall);
        y -= tall;
      }
    });
    const mostTokens = Math.max(1, ...this.samples.map((sample) => sample.tokens));
    for (const [name, colour] of [["tokens", "#f0f2f5"], ["sampled", "#ff7a59"]]) {
      pen.strokeStyle = colour;
      pen.lineWidth = 1.5 * ratio;
      pen.beginPath();
      this.samples.forEach((sample, k) => pen.lineTo((k + 0.5) * step, height - 2 - (sample[name] / mostTokens) * (half - pad)));
      pen.stroke();
    }
    pen.fillStyle = "#a8b0ba";
    pen.fillText(`stages, ${mostMs.toFixed(1)} ms`, 6 * ratio, 12 * ratio);
    pen.fillText(`tokens, ${mostTokens} (white), sampled anew (red)`, 6 * ratio, half + 12 * ratio);
  }
}

// Rows of a name and a value into a table body; `mark` gives a name the colour it has in the plot.
export function fillTable(body, rows, mark = null) {
  rows.forEach(([name, value], k) => {
    const row = body.rows[k] || body.insertRow();
    if (!row.cells.length) {
      row.append(Object.assign(document.createElement("th"), { scope: "row" }), document.createElement("td"));
    }
    const [head, cell] = row.cells;
    if (head.dataset.name !== name) {
      head.dataset.name = name;
      head.replaceChildren(...(mark ? [swatch(mark(name))] : []), name);
    }
    cell.textContent = value;
  });
  while (body.rows.length > rows.length) body.deleteRow(-1);
}

function swatch(colour) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "key");
  svg.setAttribute("viewBox", "0 0 10 10");
  svg.setAttribute("aria-hidden", "true");
  svg.append(Object.assign(document.createElementNS("http://www.w3.org/2000/svg", "rect")));
  svg.firstChild.setAttribute("width", 10);
  svg.firstChild.setAttribute("height", 10);
  svg.style.color = colour;
  return svg;
}
