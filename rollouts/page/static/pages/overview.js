// The first page: how the run went, and where to look.

import { ask } from "/static/api.js";
import { bandChart, lineChart } from "/static/chart.js";
import { count, h, number, percent, plural, shown } from "/static/dom.js";
import { go, groupsHref, withField } from "/static/route.js";
import { sessionFacts } from "/static/api.js";

const TRAILS = [
  ["is:disagree", "Judge and rule disagree", "completions"],
  ["is:all-wrong", "All wrong", "groups"],
  ["is:zero-variance", "Zero variance", "groups"],
  ["is:failed", "Not scored: error or timeout", "completions"],
  ["is:truncated", "Truncated", "completions"],
  ["is:malformed", "Format broken", "completions"],
  ["is:unclear", "Answer unclear", "completions"],
  ["is:mixed", "Mixed: some right, some wrong", "groups"],
  ["is:all-right", "All right", "groups"],
];

export async function overviewPage(route) {
  const data = await ask("overview", { q: route.q });
  const open = (step) => go(groupsHref(withField(route.q, "step", String(step))));
  return h("div", { class: "overview" },
    problemList(data.problems),
    data.runs.length > 1 && h("p", { class: "legend" }, data.runs.map((run, at) => h("span", { class: "key" }, h("i", { class: `swatch run${at}` }), shown(run.name)))),
    h("section", { class: "charts" }, curves(data, open)),
    h("div", { class: "columns" },
      h("section", {}, h("h2", {}, "Where to look"), trails(data)),
      h("section", {}, h("h2", {}, "Groups by step"), shares(data.steps[0], open), h("h2", {}, "Reward status"), statuses(data.statuses))),
    h("section", {}, h("h2", {}, "Steps"), stepTable(data.steps[0], open)));
}

export function problemList(problems) {
  if (!problems || !problems.length) return null;
  return h("details", { class: "problems", open: problems.length < 6 },
    h("summary", {}, `${plural(problems.length, "part")} of this run cannot be shown`),
    h("ul", {}, problems.map((one) => h("li", {}, shown((one.run ? "second run: " : "") + one.text)))));
}

function curves(data, open) {
  const runs = data.steps.map((steps) => steps);
  const of = (name) => runs.map((steps) => ({ points: steps.map((one) => [one.step, one[name]]) }));
  const trained = (name) => data.runs.map((run) => ({ points: run.metrics.map((one) => [one.step, one[name]]) }));
  const heldOut = trained("eval/accuracy").map((line) => ({ points: line.points.filter((point) => point[1] !== undefined) }));
  return [
    lineChart({ title: "Reward", hint: "mean over valid completions", lines: of("reward"), open }),
    lineChart({ title: "Accuracy", hint: `share of completions that ${data.main_reward || "the main reward"} calls right`, lines: of("accuracy"), open }),
    ...(heldOut.some((line) => line.points.length) ? [lineChart({ title: "Held-out accuracy", hint: "quick greedy subset; step 0 is the SFT model", lines: heldOut, open })] : []),
    lineChart({ title: "KL to reference", hint: "k3, from metrics.jsonl", lines: trained("kl"), digits: 4, open }),
    lineChart({ title: "Length", hint: "tokens a completion, mean", lines: of("length"), digits: 1, open }),
  ];
}

function trails(data) {
  const notes = sessionFacts().filters;
  const found = TRAILS.map(([term, name, unit]) => ({ term, name, unit, num: data[unit][term.slice(3)] || 0 }));
  const rows = found.map(({ term, name, unit, num }) => h("li", {},
    h("a", { href: groupsHref(term), class: num ? "" : "none" },
      h("b", { class: "num" }, count(num)), h("span", { class: "what" }, name, h("small", {}, `${unit} · ${notes[term.slice(3)] || ""}`)), h("code", {}, term))));
  const labels = Object.values(data.labels).reduce((sum, one) => sum + one, 0);
  if (labels) rows.push(h("li", {}, h("a", { href: groupsHref("is:labelled") }, h("b", { class: "num" }, count(labels)),
    h("span", { class: "what" }, "Labelled by a reader", h("small", {}, "kept in labels.jsonl for the judge's calibration")), h("code", {}, "is:labelled"))));
  if (data.runs.length > 1) rows.unshift(h("li", {}, h("a", { href: groupsHref("is:differs") }, h("b", { class: "num" }, "≠"),
    h("span", { class: "what" }, "The two runs differ", h("small", {}, "groups · another number of right completions")), h("code", {}, "is:differs"))));
  const facets = ["modality", "type"].flatMap((name) => (data.facets[name] || []).map((one) =>
    h("a", { class: "pill", href: groupsHref(withField("", name, one.value)) }, shown(one.value), h("small", {}, count(one.num)))));
  return [h("ul", { class: "trails" }, rows), facets.length > 0 && h("p", { class: "pills" }, facets)];
}

function shares(steps, open) {
  const of = (pick) => steps.map((one) => [one.step, pick(one)]);
  return bandChart({
    title: "", hint: "share of groups; only mixed ones teach", open,
    bands: [
      { name: "all right", cls: "good", points: of((one) => one.all_right) },
      { name: "mixed", cls: "mixed", points: of((one) => one.mixed) },
      { name: "all wrong", cls: "poor", points: of((one) => one.all_wrong) },
    ],
  });
}

function statuses(byReward) {
  return h("table", { class: "statuses" }, h("tbody", {}, Object.entries(byReward).map(([name, counts_]) => {
    const total = Object.values(counts_).reduce((sum, one) => sum + one, 0);
    const bar = h("span", { class: "stack" });
    for (const status of ["ok", "abstain", "error", "timeout"]) {
      const part = h("span", { class: `part s-${status}` });
      part.style.flexGrow = (counts_[status] || 0) / total;
      if (counts_[status]) bar.append(part);
    }
    const told = ["abstain", "error", "timeout"].filter((status) => counts_[status]).map((status) =>
      h("a", { class: `s-${status}`, href: groupsHref(`status:${name}=${status}`) }, `${count(counts_[status])} ${status}`));
    return h("tr", {}, h("th", {}, shown(name)), h("td", { class: "wide" }, bar), h("td", {}, `${count(counts_.ok)} ok`, told.map((one) => [" · ", one])));
  })));
}

function stepTable(steps, open) {
  const heads = ["step", "groups", "reward", "accuracy", "length", "mixed", "not scored", "judge ≠ rule"];
  return h("div", { class: "scroll" }, h("table", { class: "steps" },
    h("thead", {}, h("tr", {}, heads.map((head) => h("th", {}, head)))),
    h("tbody", {}, [...steps].reverse().map((one) => h("tr", { onclick: () => open(one.step) },
      h("td", {}, h("a", { href: groupsHref(`step:${one.step}`) }, one.step)), h("td", {}, count(one.num_groups)), h("td", {}, number(one.reward, 3)),
      h("td", {}, percent(one.accuracy)), h("td", {}, number(one.length, 1)), h("td", {}, percent(one.mixed)),
      h("td", { class: one.failed ? "warn" : "quiet" }, count(one.failed)), h("td", { class: one.disagree ? "warn" : "quiet" }, count(one.disagree)))))));
}
