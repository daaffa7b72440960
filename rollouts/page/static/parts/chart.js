// Line and band charts as plain SVG: a point a step, a click or Enter opens the step.

import { h, number, put, svg } from "/static/dom.js";

const WIDTH = 320;
const HEIGHT = 96;
const PAD = { left: 4, right: 4, top: 8, bottom: 6 };

function scaleOf(values, low, high) {
  const least = low ?? Math.min(...values);
  const most = high ?? Math.max(...values);
  const room = most - least || Math.abs(most) || 1;
  return low === undefined ? [least - 0.08 * room, most + 0.08 * room] : [least, most];
}

// lines: [{name, points: [[step, value], ..]}]; returns a figure with the last value, the change since the first, and the curve.
export function lineChart({ title, hint, lines, digits = 2, range, open }) {
  const drawn = lines.map((line) => ({ ...line, points: line.points.filter(([, value]) => Number.isFinite(value)) }));
  const all = drawn.flatMap((line) => line.points);
  const readout = h("span", { class: "readout" });
  const head = h("figcaption", {}, h("span", { class: "chart-title" }, title), readout);
  if (!all.length) return h("figure", { class: "chart", title: hint }, head, h("p", { class: "quiet nodata" }, "not recorded"));
  const steps = [...new Set(all.map(([step]) => step))].sort((a, b) => a - b);
  const [low, high] = scaleOf(all.map(([, value]) => value), ...(range || []));
  const x = (step) => PAD.left + ((step - steps[0]) / (steps.at(-1) - steps[0] || 1)) * (WIDTH - PAD.left - PAD.right);
  const y = (value) => PAD.top + (1 - (value - low) / (high - low || 1)) * (HEIGHT - PAD.top - PAD.bottom);
  const picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" });
  picture.append(svg("line", { class: "axis", x1: 0, x2: WIDTH, y1: HEIGHT - 1, y2: HEIGHT - 1 }));
  drawn.forEach((line, number_) => {
    const path = line.points.map(([step, value], at) => `${at ? "L" : "M"}${x(step).toFixed(1)} ${y(value).toFixed(1)}`).join("");
    if (line.points.length === 1) picture.append(svg("circle", { class: `dot run${number_}`, cx: x(line.points[0][0]), cy: y(line.points[0][1]), r: 3 }));
    picture.append(svg("path", { class: `line run${number_}`, d: path }));
  });
  const cursor = svg("line", { class: "cursor", y1: 0, y2: HEIGHT, x1: -9, x2: -9 });
  picture.append(cursor);
  const tell = (step) => {
    const said = drawn.map((line) => line.points.find(([at]) => at === step)?.[1]);
    put(readout, h("span", { class: "quiet" }, step === null ? "" : `step ${step} `), ...said.map((value, at) =>
      h("b", { class: `value run${at}` }, number(value, digits))));
    cursor.setAttribute("x1", step === null ? -9 : x(step));
    cursor.setAttribute("x2", step === null ? -9 : x(step));
  };
  const rest = () => {
    put(readout, ...drawn.map((line, at) => {
      const first = line.points[0]?.[1];
      const last = line.points.at(-1)?.[1];
      return h("span", {}, h("b", { class: `value run${at}` }, number(last, digits)),
        line.points.length > 1 && drawn.length === 1 && h("span", { class: "quiet from" }, `from ${number(first, digits)}`));
    }));
    cursor.setAttribute("x1", -9);
    cursor.setAttribute("x2", -9);
  };
  rest();
  return interactive(h("figure", { class: "chart", title: hint }, head, h("div", { class: "plot" }, picture), foot(steps)), steps, x, tell, rest, open, title);
}

// Shares that add up to one, from below: bands: [{name, cls, points}].
export function bandChart({ title, hint, bands, open }) {
  const steps = bands[0].points.map(([step]) => step);
  const readout = h("span", { class: "readout" });
  const head = h("figcaption", {}, h("span", { class: "chart-title" }, title), readout);
  if (!steps.length) return h("figure", { class: "chart", title: hint }, head, h("p", { class: "quiet nodata" }, "no group yet"));
  const width = WIDTH / steps.length;
  const x = (step) => (steps.indexOf(step) + 0.5) * width;
  const picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" });
  steps.forEach((step, at) => {
    let below = 0;
    for (const band of bands) {
      const share = band.points[at][1] || 0;
      picture.append(svg("rect", { class: `band ${band.cls}`, x: at * width, width: Math.max(width - (width > 4 ? 1 : 0), 0.5),
        y: (1 - below - share) * HEIGHT, height: share * HEIGHT }));
      below += share;
    }
  });
  const cursor = svg("line", { class: "cursor", y1: 0, y2: HEIGHT, x1: -9, x2: -9 });
  picture.append(cursor);
  const tell = (step) => {
    const at = steps.indexOf(step);
    put(readout, h("span", { class: "quiet" }, `step ${step} `), ...bands.map((band) =>
      h("span", { class: "key" }, h("i", { class: `swatch ${band.cls}` }), `${Math.round((band.points[at][1] || 0) * 100)} %`)));
    cursor.setAttribute("x1", x(step));
    cursor.setAttribute("x2", x(step));
  };
  const rest = () => {
    put(readout, ...bands.map((band) => h("span", { class: "key" }, h("i", { class: `swatch ${band.cls}` }), band.name)));
    cursor.setAttribute("x1", -9);
    cursor.setAttribute("x2", -9);
  };
  rest();
  return interactive(h("figure", { class: "chart", title: hint }, head, h("div", { class: "plot" }, picture), foot(steps)), steps, x, tell, rest, open, title);
}

function foot(steps) {
  return h("div", { class: "ticks" }, h("span", {}, `step ${steps[0]}`), steps.length > 1 && h("span", {}, steps.at(-1)));
}

function interactive(figure, steps, x, tell, rest, open, title) {
  const plot = figure.querySelector(".plot");
  let at = null;
  const point = (index) => {
    at = Math.max(0, Math.min(steps.length - 1, index));
    tell(steps[at]);
  };
  plot.tabIndex = 0;
  plot.setAttribute("role", "button");
  plot.setAttribute("aria-label", `${title} over steps ${steps[0]} to ${steps.at(-1)}; arrows choose a step, Enter opens it`);
  plot.addEventListener("pointermove", (event) => {
    const box = plot.getBoundingClientRect();
    const wanted = ((event.clientX - box.left) / box.width) * WIDTH;
    let nearest = 0;
    steps.forEach((step, index) => {
      if (Math.abs(x(step) - wanted) < Math.abs(x(steps[nearest]) - wanted)) nearest = index;
    });
    point(nearest);
  });
  plot.addEventListener("pointerleave", () => { at = null; rest(); });
  plot.addEventListener("blur", () => { at = null; rest(); });
  plot.addEventListener("click", () => at !== null && open(steps[at]));
  plot.addEventListener("keydown", (event) => {
    if (event.key === "ArrowRight") point(at === null ? 0 : at + 1);
    else if (event.key === "ArrowLeft") point(at === null ? steps.length - 1 : at - 1);
    else if (event.key === "Enter" && at !== null) open(steps[at]);
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  return figure;
}
