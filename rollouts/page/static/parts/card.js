// One completion: what it was paid and why, its answer, its thoughts; more on demand.

import { isExport } from "/static/api.js";
import { h, note, number, put, shown, signed } from "/static/dom.js";
import { transcript } from "/static/evidence.js";
import { tokenView } from "/static/tokens.js";

export class Card {
  constructor(group, completion, rank, actions) {
    Object.assign(this, { group, completion, rank, actions, isOpen: false, tokens: "", isTranscript: false });
    this.element = h("article", { class: "card", tabindex: -1, data: { sample: completion.sample }, "aria-label": `completion ${completion.sample}, rank ${rank}` });
    this.element.addEventListener("click", (event) => {
      if (!event.target.closest("button, a, summary, .tokens")) actions.select(this);
    });
    this.draw();
  }

  draw() {
    const one = this.completion;
    const judged = one.rewards.filter((reward) => reward.evidence);
    this.element.className = `card ${one.right === true ? "right" : one.right === false ? "wrong" : "unscored"}${this.isOpen || this.isTranscript ? " open" : ""}${this.isSelected ? " selected" : ""}${one.found ? " hit" : ""}`;
    put(this.element,
      this.head(),
      h("div", { class: "paid" }, one.rewards.map((reward) => rewardRow(reward))),
      this.tokens ? this.tokenPlace() : this.said(),
      this.isTranscript && h("div", { class: "transcripts" }, judged.length ? judged.map(transcript) : h("p", { class: "quiet" }, "no judge was asked about this completion")),
      this.isOpen && this.details(),
      this.foot(judged));
  }

  head() {
    const one = this.completion;
    return h("header", {},
      h("span", { class: "rank", title: `rank ${this.rank} of the group; sample ${one.sample}` }, this.rank),
      h("span", { class: "mark", "aria-label": one.right === true ? "right" : one.right === false ? "wrong" : "not scored" }, one.right === true ? "✓" : one.right === false ? "✗" : "!"),
      h("b", { class: "total" }, one.total === null ? "not scored" : number(one.total, 3)),
      h("span", { class: `advantage ${one.advantage > 0 ? "up" : one.advantage < 0 ? "down" : ""}`, title: "advantage inside the group" }, `A ${signed(one.advantage)}`),
      h("span", { class: "tags" },
        one.disagree && h("span", { class: "flag warn", title: disagreement(one) }, "judge ≠ rule"),
        one.finish !== "stop" && h("span", { class: "flag warn" }, one.finish === "length" ? "truncated" : shown(one.finish)),
        !one.well_formed && h("span", { class: "flag" }, "format"),
        one.unclear && h("span", { class: "flag warn", title: shown(one.parse_reason) }, `unclear: ${shown(one.parse_reason)}`),
        !one.valid && h("span", { class: "flag bad", title: "left out of the group's mean and of the training" }, "left out"),
        one.flipped && h("span", { class: "flag bad", title: "the same text, another verdict than in the first run" }, "flipped"),
        one.not_finite.length > 0 && h("span", { class: "flag bad", title: one.not_finite.map(shown).join(", ") }, "not finite")),
      h("span", { class: "quiet length", title: "tokens" }, `${one.num_tokens ?? "–"} tok`));
  }

  said() {
    const one = this.completion;
    if (!one.well_formed && (one.think === null || one.answer === null)) {
      return h("div", { class: "said" }, h("p", { class: "quiet tiny" }, `as it came · ${shown(one.parse_reason) || "no think and answer block"}`), h("div", { class: "raw text" }, this.raw()));
    }
    return h("div", { class: "said" },
      h("div", { class: "answer text" }, shown((one.answer || "").trim()) || h("span", { class: "quiet" }, "no answer")),
      one.think && h("div", { class: "think text" }, shown(one.think.trim())));
  }

  // The completion as it came, behind what the chat template had written of it.
  raw() {
    const { prefill } = this.group;
    const opened = prefill && h("span", { class: "prefill", title: "written by the chat template, not by the model" }, shown(prefill));
    return [opened, shown(this.completion.text)];
  }

  tokenPlace() {
    const place = h("div", { class: "said" }, h("p", { class: "quiet" }, "…"));
    tokenView(this.group, this.completion, this.tokens).then((view) => place.replaceChildren(view), (error) => place.replaceChildren(h("p", { class: "bad" }, shown(error.message))));
    return place;
  }

  details() {
    const one = this.completion;
    const facts = {
      "read as": [one.letters.join(", ") || one.yes_no || (one.answer === null ? "no answer" : "text"), one.parse_reason && `(${shown(one.parse_reason)})`].filter(Boolean).join(" "),
      judge: one.judge && `${one.judge}${one.layer ? ` (${shown(one.layer)})` : ""}`,
      rule: one.rule_right === null || one.rule_right === undefined ? null : one.rule_right ? "correct" : "incorrect",
      ended: one.finish, weights: one.policy_version, seed: one.seed, engine: one.engine,
      seconds: Object.entries(one.timings).map(([name, value]) => `${name} ${number(value, 3)}`).join(", "),
    };
    return h("div", { class: "details" },
      h("dl", {}, Object.entries(facts).filter(([, value]) => value !== null && value !== "" && value !== undefined).map(([name, value]) => [h("dt", {}, name), h("dd", {}, shown(value))])),
      h("details", {}, h("summary", {}, "text as it came"), h("pre", {}, this.raw())));
  }

  foot(judged) {
    const one = this.completion;
    const button = (text, title, on, press) => h("button", { title, "aria-pressed": on, onclick: press }, text);
    return h("footer", {},
      button(this.isOpen ? "Less" : "More", "Enter", this.isOpen, () => this.toggle("isOpen")),
      button("log p", "t: colour tokens by log-prob, then by KL", this.tokens === "logprob", () => this.colour(this.tokens === "logprob" ? "" : "logprob")),
      button("KL", "t: colour tokens by KL to the reference", this.tokens === "kl", () => this.colour(this.tokens === "kl" ? "" : "kl")),
      // A reward that failed keeps its traceback in the same place.
      judged.length > 0 && button(judged.some((reward) => reward.evidence.includes('"judge"')) ? "Judge" : "Evidence", "e: what the judge was asked and said, or how a reward failed", this.isTranscript, () => this.toggle("isTranscript")),
      h("span", { class: "push" }),
      this.group.side === 0 && this.labels(),
      h("button", { title: `c: copy the address of this completion (sample ${one.sample})`, onclick: () => this.actions.link(this) }, `#${one.sample}`));
  }

  labels() {
    const one = this.completion;
    const asked = one.right === null ? "Answer" : "Verdict";
    const says = one.label === null || one.label === undefined ? null : one.right === null ? one.label === "correct" : (one.label === "correct") === one.right;
    if (isExport) return says === null ? null : h("span", { class: "tiny" }, `${asked.toLowerCase()} ${says ? "right" : "wrong"}, says a reader`);
    return h("span", { class: "labels", role: "group", "aria-label": `label the ${asked.toLowerCase()}` }, h("span", { class: "tiny quiet" }, asked),
      h("button", { class: "yes", "aria-pressed": says === true, title: `y: the ${asked.toLowerCase()} is right`, onclick: () => this.label(says === true ? null : true) }, "right"),
      h("button", { class: "no", "aria-pressed": says === false, title: `n: the ${asked.toLowerCase()} is wrong`, onclick: () => this.label(says === false ? null : false) }, "wrong"));
  }

  // `isRight`: the reader's word on the verdict (on the answer where there is no verdict); null takes the label back.
  async label(isRight) {
    const one = this.completion;
    const expected = isRight === null ? null : (one.right === null ? isRight : isRight === one.right) ? "correct" : "incorrect";
    try {
      await this.actions.label(this, expected);
      one.label = expected;
      this.draw();
      note(expected === null ? "label taken back" : `labelled: the answer is ${expected}`);
    } catch (error) {
      note(error.message, true);
    }
  }

  toggle(name) {
    this[name] = !this[name];
    this.draw();
    this.actions.select(this);
  }

  colour(mode) {
    this.tokens = mode;
    this.draw();
    this.actions.coloured(mode);
  }

  select(isSelected) {
    this.isSelected = isSelected;
    this.element.classList.toggle("selected", isSelected);
  }
}

function disagreement(one) {
  return `the judge says ${one.judge}; by rule the answer ${one.rule_right ? "holds" : "does not hold"} the reference`;
}

function rewardRow(reward) {
  const bar = h("span", { class: "bar" });
  if (reward.value !== null) {
    const filled = h("i", { class: reward.value < 0 ? "below" : "" });
    filled.style.width = `${Math.max(0, Math.min(1, Math.abs(reward.value))) * 100}%`;
    bar.append(filled);
  }
  const weight = reward.weight === null || reward.weight === undefined ? null : h("span", { class: "quiet" }, ` × ${reward.weight}`);
  return [
    h("div", { class: `reward s-${reward.status}` },
      h("span", { class: "name" }, shown(reward.name)), bar,
      h("span", { class: "value" }, reward.value === null ? h("b", { class: "status" }, shown(reward.status)) : number(reward.value), weight),
      h("span", { class: "reason", title: shown(reward.reason) }, shown(reward.reason))),
    reward.parts.map((part) => h("div", { class: "reward part" }, h("span", { class: "name" }, shown(part.name)), partBar(part.value), h("span", { class: "value" }, number(part.value)), h("span", {}))),
  ];
}

function partBar(value) {
  const filled = h("i");
  filled.style.width = `${Math.max(0, Math.min(1, value || 0)) * 100}%`;
  return h("span", { class: "bar thin" }, filled);
}
