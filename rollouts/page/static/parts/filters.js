// The row of filters above a list: each is a term of the search box, so what is clicked can be read, edited and sent on.

import { h, shown } from "/static/dom.js";
import { fieldOf, go, groupsHref, hasTerm, toggledTerm, withField } from "/static/route.js";
import { exportUrl, isExport, sessionFacts } from "/static/api.js";

const QUICK = [
  ["is:disagree", "Judge ≠ rule"],
  ["is:all-wrong", "All wrong"],
  ["is:zero-variance", "Zero variance"],
  ["is:mixed", "Mixed"],
  ["is:failed", "Not scored"],
  ["is:truncated", "Truncated"],
  ["is:labelled", "Labelled"],
];
const SORT_NAMES = {
  step: "first step first", "-step": "last step first", reward: "worst paid first", "-reward": "best paid first", "-spread": "widest spread first",
  "-disagree": "most disagreement first", "-failed": "most failures first", "-tokens": "longest first",
};
const REWARDS = [["", "any reward"], ["<0.25", "below 0.25"], ["0.25..0.75", "0.25 to 0.75"], [">0.75", "above 0.75"]];
const STATUSES = [["", "any status"], ["ok", "ok"], ["abstain", "abstain"], ["error", "error"], ["timeout", "timeout"]];

export function filterRow(route, facets, lastStep) {
  const { q, sort } = route;
  const notes = sessionFacts().filters;
  const quick = [...(sessionFacts().num_runs > 1 ? [["is:differs", "Runs differ"]] : []), ...QUICK];
  const to = (next) => go(groupsHref(next, sort));
  const facet = (name, all) => [["", all], ...(facets?.[name] || []).map((one) => [one.value, `${one.value} (${one.num})`])];
  return h("div", { class: "filters", role: "group", "aria-label": "Filters" },
    quick.map(([term, name]) => h("button", { class: "chip", "aria-pressed": hasTerm(q, term), title: notes[term.slice(3)] || "", onclick: () => to(toggledTerm(q, term)) }, name)),
    !isExport && flippedChip(q, to, lastStep),
    choice("modality", facet("modality", "any modality"), fieldOf(q, "modality"), (value) => to(withField(q, "modality", value))),
    choice("answer type", facet("type", "any type"), fieldOf(q, "type"), (value) => to(withField(q, "type", value))),
    !isExport && choice("status", STATUSES, fieldOf(q, "status"), (value) => to(withField(q, "status", value))),
    !isExport && choice("reward", REWARDS, fieldOf(q, "reward"), (value) => to(withField(q, "reward", value))),
    h("span", { class: "push" }),
    choice("order", sessionFacts().sorts.map((name) => [name, SORT_NAMES[name] || name]), sort, (value) => go(groupsHref(q, value))),
    !isExport && h("a", { class: "chip", href: exportUrl(q, sort), download: "rounds-groups.html", title: "the first 50 of these groups as one file that opens without a server" }, "Export"));
}

function flippedChip(q, to, lastStep) {
  const since = fieldOf(q, "flipped");
  const input = h("input", { type: "number", min: 0, max: lastStep ?? undefined, value: since, placeholder: "step", "aria-label": "flipped since step" });
  input.addEventListener("change", () => to(withField(q, "flipped", input.value)));
  return h("label", { class: "chip", "aria-pressed": Boolean(since), title: "the majority of the group changed sides since the last visit of the same prompt at or before this step" }, "Flipped since", input);
}

function choice(name, options, value, change) {
  const known = options.some(([option]) => option === value);
  const select = h("select", { "aria-label": name, class: value && options[0][0] === "" ? "set" : "" },
    !known && h("option", { value }, shown(value)), options.map(([option, text]) => h("option", { value: option, selected: option === value }, shown(text))));
  select.value = value;
  select.addEventListener("change", () => change(select.value));
  return select;
}
