// Keys and filters on one sheet.

import { h } from "/static/dom.js";
import { sessionFacts } from "/static/api.js";

const KEYS = [
  ["/", "find"], ["j k", "next, previous group (or row of the list)"], ["← →  h l  1–9", "choose a completion"], ["Enter", "all of it, and back"], ["t", "tokens: by log-prob, by KL, plain"],
  ["e", "judge's transcript"], ["y n u", "verdict is right, is wrong, take the label back"], ["[ ]", "slice or frame before, after; on the picture also the wheel and the arrows"], ["m", "outline of the mask"], ["s", "all slices of the source"], ["+ − 0", "zoom"], ["c", "copy the address of this completion"],
  ["Esc", "back to the list"], ["g", "overview"], ["d", "light or dark"], ["?", "this sheet"],
];
const FIELDS = [
  ["words, \"a phrase\"", "stand in a completion or the question"], ["modality:CT  type:open  source:NAME", "what was asked"], ["step:12  step:3..9", "when"],
  ["reward:<0.5  advantage:>1  tokens:>200", "numbers: 3, <3, >=3, 3..9, 3.."], ["status:error  status:accuracy=timeout", "status of a reward"], ["judge:correct  layer:cache", "what the judge said, and where"],
  ["label:wrong  label:any", "verdicts that a reader called wrong; every label"], ["flipped:10", "majority changed since the last visit up to step 10"], ["modality:CT,MR  step=1,5..9", "commas mean or; = reads like :"], ["-TERM", "not that"],
];

export function helpSheet() {
  const sheet = h("dialog", { class: "help", "aria-label": "keys and filters" });
  const table = (rows, isKeys) => h("dl", {}, rows.map(([name, what]) => [h("dt", {}, isKeys ? name.split(/ {1,2}/).map((one) => [h("kbd", {}, one), " "]) : h("code", {}, name)), h("dd", {}, what)]));
  const kinds = Object.entries(sessionFacts().filters).map(([name, what]) => [`is:${name}`, what]);
  sheet.append(h("form", { method: "dialog" }, h("button", { class: "icon", "aria-label": "close" }, "×")),
    h("div", { class: "sheet" }, h("section", {}, h("h2", {}, "Keys"), table(KEYS, true)), h("section", {}, h("h2", {}, "Find"), table(FIELDS, false)), h("section", {}, h("h2", {}, "is:"), table(kinds, false))));
  sheet.addEventListener("click", (event) => event.target === sheet && sheet.close());
  sheet.addEventListener("keydown", (event) => event.stopPropagation());
  document.body.append(sheet);
  return sheet;
}
