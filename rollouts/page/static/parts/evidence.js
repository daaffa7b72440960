// A judge's transcript as it was stored: laid out where it is JSON, shown as text where it is not.

import { h, number, shown } from "/static/dom.js";

const FIRST = ["decision", "failure", "layer", "judge", "model", "prompt", "reference", "answer", "role", "reply", "problem", "finish_reason", "content", "messages", "attempts"];
const MOST_DEPTH = 6;

export function transcript(reward) {
  const told = [
    reward.seconds ? `${number(reward.seconds, 2)} s` : null,
    reward.cost ? `cost ${number(reward.cost, 5)}` : null,
  ].filter(Boolean).join(" · ");
  return h("div", { class: "transcript" }, h("h4", {}, shown(reward.name), h("span", { class: "quiet" }, told)), laidOut(reward.evidence));
}

function laidOut(text) {
  let value;
  try {
    value = JSON.parse(text);
  } catch {
    return h("pre", {}, shown(text));
  }
  return layOut(value, 0);
}

function layOut(value, depth) {
  if (value === null || typeof value !== "object") return words(value);
  if (depth >= MOST_DEPTH) return h("pre", {}, shown(JSON.stringify(value)));
  if (Array.isArray(value)) {
    if (!value.length) return h("span", { class: "quiet" }, "none");
    return h("ol", {}, value.map((one) => h("li", {}, layOut(one, depth + 1))));
  }
  const names = Object.keys(value).sort((a, b) => rank(a) - rank(b));
  return h("div", { class: "fields" }, names.filter((name) => ![null, ""].includes(value[name]) && value[name].length !== 0).map((name) => field(name, value[name], depth)));
}

function field(name, value, depth) {
  // What was asked is long and mostly the same; the reply is what the reader came for.
  if (name === "messages") return h("details", {}, h("summary", {}, "what the judge was asked"), layOut(value, depth + 1));
  const isWide = (value !== null && typeof value === "object") || isLong(shown(value));
  return h("div", { class: isWide ? "field wide" : "field" }, h("b", {}, shown(name)), layOut(value, depth + 1));
}

function isLong(text) {
  return text.length > 120 || text.includes("\n") || /^\s*\{/.test(text);
}

function rank(name) {
  const at = FIRST.indexOf(name);
  return at < 0 ? FIRST.length : at;
}

function words(value) {
  const text = shown(value);
  // A reply that is itself JSON reads better indented.
  if (typeof value === "string" && /^\s*\{/.test(value)) {
    try {
      return h("pre", {}, shown(JSON.stringify(JSON.parse(value), null, 1)));
    } catch {
      return h("pre", {}, text);
    }
  }
  return isLong(text) ? h("pre", {}, text) : h("span", {}, text);
}
