// The tokens of one completion, coloured by how sure the policy was or by how far it went from the reference.

import { ask } from "/static/api.js";
import { h, number, shown } from "/static/dom.js";

// Upper bounds of the six levels of colour: of -log p, and of the k3 estimate of the KL at that token.
const LOGPROB_BOUNDS = [0.1, 0.5, 1, 2, 4];
const KL_BOUNDS = [0.005, 0.02, 0.1, 0.5, 1.5];
export const TOKEN_MODES = ["logprob", "kl"];

function level(value, bounds) {
  if (value === null || value === undefined) return "x";
  const at = bounds.findIndex((bound) => value <= bound);
  return at < 0 ? bounds.length : at;
}

// The tokens of a whole group come in one answer, kept with the group.
function tokensOf(group) {
  group.tokens ??= ask("tokens", { side: group.side, step: group.step, prompt: group.prompt });
  group.tokens.catch(() => { group.tokens = undefined; });
  return group.tokens;
}

export async function tokenView(group, completion, mode) {
  const { note: missing, completions } = await tokensOf(group);
  const data = completions[completion.sample];
  const readout = h("p", { class: "token-readout quiet" });
  const tell = (at) => readout.replaceChildren(readoutOf(data, at));
  const isKl = mode === "kl" && data.kl;
  const spans = data.ids.map((id, at) => {
    const value = isKl ? data.kl[at] : data.logprobs?.[at] === null || data.logprobs?.[at] === undefined ? null : -data.logprobs[at];
    const text = data.texts ? data.texts[at] : String(id);
    const isBreak = data.texts && text.includes("\n");
    return [h("span", { class: `tok ${isKl ? "k" : "p"}${level(value, isKl ? KL_BOUNDS : LOGPROB_BOUNDS)}${data.texts ? "" : " id"}`, data: { at } }, shown(text) || "∅"), isBreak ? "" : null];
  });
  const field = h("div", { class: "tokens", tabindex: 0, role: "group", "aria-label": `tokens coloured by ${isKl ? "KL" : "log-probability"}` }, spans);
  let at = -1;
  const point = (next) => {
    field.querySelector(".tok.on")?.classList.remove("on");
    at = Math.max(0, Math.min(data.ids.length - 1, next));
    field.querySelector(`[data-at="${at}"]`)?.classList.add("on");
    tell(at);
  };
  field.addEventListener("pointerover", (event) => event.target.dataset?.at !== undefined && point(Number(event.target.dataset.at)));
  field.addEventListener("keydown", (event) => {
    if (event.key !== "ArrowRight" && event.key !== "ArrowLeft") return;
    point(at + (event.key === "ArrowRight" ? 1 : -1));
    event.preventDefault();
    event.stopPropagation();
  });
  return h("div", { class: "tokenbox" }, mode === "kl" && !data.kl && h("p", { class: "quiet tiny" }, "no reference log-probs are stored, so these are coloured by log-prob"), field, readout, missing && h("p", { class: "quiet" }, shown(missing)));
}

function readoutOf(data, at) {
  const p = data.logprobs?.[at];
  const parts = [`token ${at + 1} of ${data.ids.length}`, `id ${data.ids[at]}`, p !== null && p !== undefined && `p ${number(Math.exp(p), 3)} (log ${number(p, 3)})`];
  const q = data.ref_logprobs?.[at];
  if (q !== null && q !== undefined) parts.push(`reference p ${number(Math.exp(q), 3)}`);
  if (data.kl?.[at] !== null && data.kl?.[at] !== undefined) parts.push(`KL ${number(data.kl[at], 4)}`);
  return parts.filter(Boolean).join(" · ");
}

export function tokenLegend(mode) {
  if (!mode) return [];
  const [bounds, letter, name] = mode === "kl" ? [KL_BOUNDS, "k", "KL to the reference at each token"] : [LOGPROB_BOUNDS, "p", "−log p of each token"];
  return [h("span", { class: "quiet" }, name, " "), bounds.map((bound, at) => h("span", { class: `tok ${letter}${at}` }, `≤ ${bound}`)), h("span", { class: `tok ${letter}${bounds.length}` }, "more")].flat();
}
