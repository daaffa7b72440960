// One group: the image and the question on one side, the completions as cards, best paid first, on the other.

import { ask, isExport, sendLabel } from "/static/api.js";
import { Card } from "/static/card.js";
import { h, note, number, percent, shown } from "/static/dom.js";
import { MediaView } from "/static/media.js";
import { groupHref, groupsHref, overviewHref, go } from "/static/route.js";
import { TOKEN_MODES, tokenLegend } from "/static/tokens.js";

const cache = new Map();
const MOST_CACHED = 24;

export function loadGroup(step, prompt) {
  const key = `${step}/${prompt}`;
  if (!cache.has(key)) {
    const loading = ask("group", { step, prompt });
    loading.catch(() => cache.delete(key));
    cache.set(key, loading);
    if (cache.size > MOST_CACHED) cache.delete(cache.keys().next().value);
  }
  return cache.get(key);
}

export function forgetGroups() {
  cache.clear();
}

export class GroupPage {
  constructor(group, route, list, position, found) {
    Object.assign(this, { group, route, list, position, found, mode: "" });
    this.media = new MediaView(group);
    this.legend = h("p", { class: "token-legend" });
    this.cards = this.makeCards(group, route);
    this.selected = this.cards.find((card) => card.completion.sample === route.sample) || null;
    this.element = h("div", { class: `group${group.other ? " two" : ""}` },
      h("aside", { class: "asked" }, this.media.element, this.question()),
      h("section", { class: "answers" }, this.head(), this.legend, group.other === undefined ? this.grid(this.cards) : this.sideBySide()));
    if (this.selected) this.select(this.selected, false);
  }

  makeCards(group, route) {
    const actions = { select: (card) => this.select(card), link: (card) => this.link(card), label: (card, expected) => this.label(card, expected), coloured: (mode) => this.legend.replaceChildren(...tokenLegend(mode)) };
    const found = this.found && new Set(this.found);
    return ranked(group.completions).map((completion, at) => {
      completion.found = Boolean(found?.has(completion.sample)) || completion.sample === route.sample;
      return new Card(group, completion, at + 1, actions);
    });
  }

  head() {
    const { group, list, position } = this;
    const scored = group.completions.filter((one) => one.total !== null);
    const mean = scored.reduce((sum, one) => sum + one.total, 0) / (scored.length || 1);
    const right = group.completions.filter((one) => one.right).length;
    const to = (direction, name, key) => h("button", { class: "move", title: key, onclick: () => this.move(direction), disabled: position === null || position + direction < 0 || position + direction >= list.total }, name);
    return h("div", { class: "grouphead" },
      h("span", { class: "where" }, h("b", {}, `${right} of ${group.completions.length} right`), h("span", { class: "quiet" }, scored.length ? ` · mean ${number(mean, 3)}` : " · none scored",
        scored.length < group.completions.length ? ` · ${group.completions.length - scored.length} left out` : "")),
      h("span", { class: "push" }),
      group.visits.length > 1 && h("span", { class: "visits", title: "the same prompt at other steps" }, group.visits.slice(-12).map((visit) =>
        h("a", { href: groupHref({ step: visit.step, prompt: group.prompt }, this.route.q, this.route.sort), "aria-current": visit.step === group.step ? "true" : undefined }, `step ${visit.step} · ${visit.right}/${visit.judged}`))),
      h("span", { class: "moves" }, to(-1, "‹", "k: previous group"), h("span", { class: "quiet" }, position === null ? "not in this list" : `${position + 1} of ${list.total}`), to(1, "›", "j: next group")));
  }

  question() {
    const { group } = this;
    const meta = [`step ${group.step}`, group.modality, group.type, group.source].filter(Boolean);
    return h("div", { class: "question" },
      h("p", { class: "quiet meta" }, meta.map(shown).join(" · ")),
      h("h1", { class: "text" }, shown(group.question)),
      group.options.length > 0 && h("ol", { class: `options${group.options_shown ? "" : " hidden"}` }, group.options.map((option) =>
        h("li", { class: option.gold ? "gold" : "" }, h("b", {}, option.letter), h("span", { class: "text" }, shown(option.text)), option.gold && h("span", { class: "tick", title: "gold" }, "✓"), h("small", { class: "quiet" }, this.votes(option.letter))))),
      group.options.length > 0 && !group.options_shown && h("p", { class: "quiet tiny" }, "asked open: the options were not shown"),
      h("p", { class: "goldline" }, h("span", { class: "quiet" }, "gold "), h("b", { class: "gold text" }, shown(group.gold)), group.aliases.length > 0 && h("span", { class: "quiet" }, ` also: ${group.aliases.map(shown).join(", ")}`)),
      this.more());
  }

  votes(letter) {
    const votes = this.group.completions.filter((one) => one.letters.includes(letter)).length;
    return votes ? `${votes} of ${this.group.completions.length}` : "";
  }

  more() {
    const { group } = this;
    const facts = {
      "to be seen": group.visual_references.join("; "), "steps of a good rationale": group.reference_steps.join("; "), rubric: group.rubric.join("; "),
      prompt: group.prompt, sample: group.sample_id, split: group.split, language: group.language, pair: group.pair_id,
      difficulty: group.difficulty === null ? null : number(group.difficulty), ...Object.fromEntries(Object.entries(group.tags).map(([name, value]) => [shown(name), value])), run: group.run,
    };
    return h("details", { class: "more" }, h("summary", {}, "Record"),
      h("dl", {}, Object.entries(facts).filter(([, value]) => value !== null && value !== undefined && value !== "").map(([name, value]) => [h("dt", {}, name), h("dd", { class: "text" }, shown(value))])),
      h("details", {}, h("summary", {}, "prompt as the model saw it"), h("pre", {}, shown(group.prompt_text))));
  }

  grid(cards) {
    return h("div", { class: "cards" }, cards.map((card) => card.element));
  }

  sideBySide() {
    const { group } = this;
    const other = group.other;
    if (!other) return [h("p", { class: "quiet pad" }, "the second run never asked this prompt"), this.grid(this.cards)];
    const bySample = new Map(other.completions.map((one) => [one.sample, one]));
    // A replay scores the same texts again: then each completion stands beside itself.
    const isReplay = group.completions.every((one) => bySample.get(one.sample)?.text === one.text);
    const actions = { select: () => {}, link: () => {}, label: () => {}, coloured: (mode) => this.legend.replaceChildren(...tokenLegend(mode)) };
    const order = isReplay ? this.cards.map((card) => bySample.get(card.completion.sample)) : ranked(other.completions);
    const others = order.map((completion, at) => {
      const mine = group.completions.find((one) => one.sample === completion.sample);
      completion.flipped = isReplay && mine.right !== completion.right;
      return new Card(other, completion, at + 1, actions);
    });
    const right = (completions) => completions.filter((one) => one.right).length;
    const rows = Array.from({ length: Math.max(this.cards.length, others.length) }, (_, at) => [this.cards[at]?.element || h("div"), others[at]?.element || h("div")]);
    return h("div", { class: "pairs" },
      h("h2", {}, h("i", { class: "swatch run0" }), `${shown(group.run)} · step ${group.step} · ${percent(right(group.completions) / group.completions.length)} right`),
      h("h2", {}, h("i", { class: "swatch run1" }), `${shown(other.run)} · step ${other.step} · ${percent(right(other.completions) / other.completions.length)} right${isReplay ? " · the same texts" : ""}`),
      rows);
  }

  select(card, isMove = true) {
    if (card.group !== this.group) return;
    this.selected?.select(false);
    this.selected = card;
    card.select(true);
    history.replaceState(null, "", this.hrefOf(card));
    if (isMove) card.element.scrollIntoView({ block: "nearest" });
  }

  hrefOf(card) {
    return groupHref(this.group, this.route.q, this.route.sort, card?.completion.sample);
  }

  async link(card) {
    const address = location.href.split("#")[0] + this.hrefOf(card);
    history.replaceState(null, "", this.hrefOf(card));
    try {
      await navigator.clipboard.writeText(address);
      note("address copied");
    } catch {
      note("the address of this completion is in the address bar");
    }
  }

  async label(card, expected) {
    const { step, prompt } = this.group;
    await sendLabel({ step, prompt, sample: card.completion.sample, expected });
  }

  async move(direction) {
    if (this.position === null) return;
    const next = await this.list.at(this.position + direction);
    if (!next) note(direction > 0 ? "this was the last group" : "this is the first group");
    else go(groupHref(next, this.route.q, this.route.sort), true);
  }

  // Keys of this page; true = the key was meant for it.
  key(event) {
    const { key } = event;
    const at = this.cards.indexOf(this.selected);
    const choose = (next) => this.select(this.cards[Math.max(0, Math.min(this.cards.length - 1, next))]);
    const onCard = (act) => (this.selected || this.cards.length === 0 ? null : choose(0), this.selected && act(this.selected));
    const acts = {
      j: () => this.move(1), k: () => this.move(-1), ArrowRight: () => choose(at + 1), ArrowLeft: () => choose(at < 0 ? 0 : at - 1),
      l: () => choose(at + 1), h: () => choose(at < 0 ? 0 : at - 1),
      Enter: () => onCard((card) => card.toggle("isOpen")), o: () => onCard((card) => card.toggle("isOpen")),
      e: () => onCard((card) => card.toggle("isTranscript")), t: () => this.cycleTokens(),
      y: () => !isExport && onCard((card) => card.label(true)), n: () => !isExport && onCard((card) => card.label(false)), u: () => !isExport && onCard((card) => card.label(null)),
      c: () => this.link(this.selected), "]": () => this.media.show(this.media.at + 1), "[": () => this.media.show(this.media.at - 1),
      m: () => this.media.outline(), s: () => this.media.all(),
      "+": () => this.media.zoomTo(this.media.zoom * 1.5), "=": () => this.media.zoomTo(this.media.zoom * 1.5), "-": () => this.media.zoomTo(this.media.zoom / 1.5), 0: () => this.media.zoomTo(1),
      Escape: () => go(isExport ? overviewHref() : groupsHref(this.route.q, this.route.sort)),
    };
    if (/^[1-9]$/.test(key)) choose(Number(key) - 1);
    else if (acts[key]) {
      if (key === "Enter" && event.target.closest("button, a, summary")) return false;
      acts[key]();
    } else return false;
    return true;
  }

  cycleTokens() {
    const modes = ["", ...TOKEN_MODES];
    this.mode = modes[(modes.indexOf(this.mode) + 1) % modes.length];
    for (const card of this.cards) card.colour(this.mode);
    note(this.mode ? `tokens coloured by ${this.mode === "kl" ? "KL to the reference" : "log-prob"}` : "tokens not coloured");
  }
}

function ranked(completions) {
  return [...completions].sort((a, b) => (b.total ?? -Infinity) - (a.total ?? -Infinity) || a.sample - b.sample);
}
