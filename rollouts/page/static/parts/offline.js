// An exported page answers itself: the groups were chosen when it was written; here one can still find words and `is:`, `step:`, `modality:`, `type:`.

import { terms } from "/static/route.js";

export function answerFrom(data, path, values) {
  if (path === "session") return data.session;
  if (path === "about") return data.overview;
  if (path === "overview") return data.overview;
  if (path === "group") return found(data.group[`${values.step}/${values.prompt}`], "this group is not on the exported page");
  if (path === "tokens") {
    return found(data.tokens[`${values.side || 0}/${values.step}/${values.prompt}`], "no tokens on the exported page");
  }
  const groups = sorted(data.groups.filter((group) => matches(data, group, values.q || "")), values.sort);
  if (path === "position") {
    const position = groups.findIndex((group) => group.step === Number(values.step) && group.prompt === values.prompt);
    return { position: position < 0 ? null : position, total: groups.length };
  }
  const offset = values.offset || 0;
  const completions = groups.reduce((sum, group) => sum + (group.hits ? group.hits.length : group.num), 0);
  return { groups: groups.slice(offset, offset + 100), total: groups.length, completions, offset };
}

function found(value, problem) {
  if (value === undefined) throw new Error(problem);
  return value;
}

function matches(data, group, q) {
  return terms(q).every((term) => {
    const not = term.startsWith("-");
    return matchesTerm(data, group, not ? term.slice(1) : term) !== not;
  });
}

function matchesTerm(data, group, term) {
  const [, name, text] = /^(?:([A-Za-z_]+)[:=](?!\/\/))?(.*)$/s.exec(term.toLowerCase());
  const values = name && !text.startsWith('"') ? text.split(",") : [text.replaceAll('"', "")];
  return values.some((value) => matchesValue(data, group, name, value));
}

function matchesValue(data, group, name, value) {
  if (name === "step") return isWithin(group.step, value);
  if (name === "modality") return (group.modality || "").toLowerCase() === value;
  if (name === "type") return (group.type || "").toLowerCase() === value;
  const completions = data.group[`${group.step}/${group.prompt}`].completions;
  if (name === "is") return isKind(group, completions, value);
  if (name) throw new Error(`an exported page finds words and is:, step:, modality:, type:; not ${name}:`);
  return [group.question, ...completions.map((one) => one.text)].some((text) => (text || "").toLowerCase().includes(value));
}

function isWithin(number, range) {
  const [low, high] = range.includes("..") ? range.split("..") : [range, range];
  return (low === "" || number >= Number(low)) && (high === "" || number <= Number(high));
}

function isKind(group, completions, value) {
  if (value === "disagree") return completions.some((one) => one.disagree);
  if (value === "right") return group.num_right > 0;
  if (value === "wrong") return completions.some((one) => one.right === false);
  if (value === "all-wrong") return group.num_right === 0 && completions.some((one) => one.right !== null);
  if (value === "all-right") return completions.every((one) => one.right);
  if (value === "mixed") return completions.some((one) => one.right) && completions.some((one) => one.right === false);
  if (value === "zero-variance") return group.num_valid > 0 && group.spread < 1e-9;
  if (value === "failed") return group.num_failed > 0;
  if (value === "unscored") return group.num_valid < group.num;
  if (value === "truncated") return group.num_truncated > 0;
  if (value === "malformed") return completions.some((one) => !one.well_formed);
  if (value === "unclear") return completions.some((one) => one.unclear);
  throw new Error(`an exported page does not know is:${value}`);
}

function sorted(groups, sort) {
  const keys = { step: "step", reward: "mean", spread: "spread", disagree: "num_disagree", failed: "num_failed", tokens: "num_tokens" };
  const down = (sort || "").startsWith("-");
  const key = keys[(sort || "").replace("-", "")];
  if (!key) return groups;
  return [...groups].sort((a, b) => ((a[key] ?? Infinity) - (b[key] ?? Infinity)) * (down ? -1 : 1));
}
