// The list of groups that a search finds. Pages of it are loaded as the reader gets near their end.

import { ask } from "/static/api.js";
import { imageUrl } from "/static/api.js";
import { h, number, note, plural, shown } from "/static/dom.js";
import { filterRow } from "/static/filters.js";
import { groupHref } from "/static/route.js";

const PAGE = 100;

// One search and its order, page by page; shared with the group page, whose next and previous follow it.
export class GroupList {
  constructor(q, sort) {
    Object.assign(this, { q, sort, total: null, completions: 0, pages: new Map() });
  }

  page(number_) {
    if (!this.pages.has(number_)) {
      this.pages.set(number_, ask("groups", { q: this.q, sort: this.sort, offset: number_ * PAGE }).then((answer) => {
        if (number_ === 0 || answer.groups.length) Object.assign(this, { total: answer.total, completions: answer.completions });
        return answer.groups;
      }));
    }
    return this.pages.get(number_);
  }

  async at(position) {
    if (position < 0) return null;
    return (await this.page(Math.floor(position / PAGE)))[position % PAGE] || null;
  }

  async positionOf(step, prompt) {
    for (const [number_, page] of this.pages) {
      const within = (await page).findIndex((group) => group.step === step && group.prompt === prompt);
      if (within >= 0) return number_ * PAGE + within;
    }
    const found = await ask("position", { q: this.q, sort: this.sort, step, prompt });
    this.total = found.total;
    return found.position;
  }
}

export async function groupsPage(route, list, facts) {
  const first = await list.page(0);
  const rows = h("ol", { class: "groups" });
  const told = list.total === 0 ? "No group is found" : `${plural(list.total, "group")}${route.q ? ` · ${plural(list.completions, "completion")} found` : ""}`;
  const page = h("div", { class: "list" }, filterRow(route, facts?.facets, facts?.last_step), h("p", { class: "found", role: "status" }, told), rows);
  if (list.total === 0) page.append(emptyHint(route.q));
  append(rows, first, list, 0);
  more(rows, list, 1);
  return page;
}

function emptyHint(q) {
  return h("p", { class: "quiet" }, q ? "Take a term out of the search, or press ? for everything that can be asked." : "The run has written no group yet; this page looks again every two seconds.");
}

function append(rows, groups, list, offset) {
  rows.append(...groups.map((group, at) => row(group, list, offset + at)));
}

function more(rows, list, next) {
  if (next * PAGE >= list.total) return;
  const end = h("li", { class: "more quiet" }, "…");
  rows.append(end);
  new IntersectionObserver(async (entries, observer) => {
    if (!entries.some((one) => one.isIntersecting)) return;
    observer.disconnect();
    try {
      const groups = await list.page(next);
      end.remove();
      append(rows, groups, list, next * PAGE);
      more(rows, list, next + 1);
    } catch (error) {
      note(error.message, true);
    }
  }, { rootMargin: "1200px" }).observe(end);
}

function row(group, list, position) {
  const href = groupHref(group, list.q, list.sort, group.hits?.length && group.hits.length < group.num ? group.hits[0] : undefined);
  const image = group.thumb ? h("img", { src: imageUrl(group.thumb, true), alt: "", loading: "lazy", width: 48, height: 48 }) : h("span", { class: "noimage" });
  if (group.thumb) image.addEventListener("error", () => image.replaceWith(h("span", { class: "noimage", title: "the image cannot be shown" }, "?")));
  const flags = [
    group.num_disagree && h("span", { class: "flag warn", title: "judge and rule disagree" }, `≠ ${group.num_disagree}`),
    group.num_failed && h("span", { class: "flag bad", title: "not scored" }, `! ${group.num_failed}`),
    group.num_truncated && h("span", { class: "flag", title: "truncated" }, `✂ ${group.num_truncated}`),
  ];
  return h("li", {}, h("a", { href, data: { position } },
    image,
    h("span", { class: "ask" }, h("span", { class: "q" }, shown(group.question)),
      h("small", {}, [`step ${group.step}`, group.modality, group.type, group.num_media > 1 && `${group.num_media} media`].filter(Boolean).map(shown).join(" · "), " · gold ", h("span", { class: "gold" }, shown(group.gold)))),
    h("span", { class: "flags" }, flags.filter(Boolean)),
    strip(group),
    h("span", { class: "share", title: "right of all that were scored" }, `${group.num_right}/${group.num}`, group.b_right !== null && group.b_right !== undefined && h("small", { class: "run1" }, ` ${group.b_right}`)),
    h("span", { class: "mean", title: "mean reward" }, number(group.mean, 2))));
}

// The rewards of the group as small cells, best first: what the eye compares before it reads.
function strip(group) {
  const cells = group.totals.map((total, at) => ({ total, right: group.rights[at], hit: group.hits?.includes(at) }));
  cells.sort((a, b) => (b.total ?? -9) - (a.total ?? -9));
  return h("span", { class: "strip", "aria-hidden": "true" }, cells.map((cell) => {
    const level = cell.total === null ? "none" : String(Math.max(0, Math.min(4, Math.round(cell.total * 4))));
    return h("i", { class: `cell l${level}${cell.hit && group.hits.length < group.num ? " hit" : ""}` });
  }));
}

export function moveInList(direction) {
  const links = [...document.querySelectorAll(".groups a")];
  const at = links.indexOf(document.activeElement);
  links[Math.max(0, Math.min(links.length - 1, at + direction))]?.focus();
}
