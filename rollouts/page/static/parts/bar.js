// The bar at the top: where one is, the search, and whether the run goes on.

import { isExport } from "/static/api.js";
import { h, shown } from "/static/dom.js";
import { go, groupsHref, overviewHref } from "/static/route.js";

export class Bar {
  constructor(showHelp) {
    this.search = h("input", {
      type: "search", id: "search", placeholder: "Find: words, is:disagree, modality:CT, reward:<0.5, step:3..9", "aria-label": "find groups", autocomplete: "off", spellcheck: "false",
    });
    this.trail = h("nav", { class: "trail", "aria-label": "where" });
    this.live = h("span", { class: "live", role: "status" });
    this.problem = h("p", { class: "searchproblem bad", role: "alert" });
    this.sort = "step";
    let timer = 0;
    const apply = () => go(groupsHref(this.search.value.trim(), this.sort), this.isOnList);
    this.search.addEventListener("input", () => {
      clearTimeout(timer);
      if (this.isOnList) timer = setTimeout(apply, 250);
    });
    this.search.addEventListener("keydown", (event) => {
      if (event.key === "Enter") {
        clearTimeout(timer);
        apply();
        this.search.blur();
      } else if (event.key === "Escape") this.search.blur();
      event.stopPropagation();
    });
    document.getElementById("bar").append(
      h("a", { class: "brand", href: overviewHref(), title: "overview" }, "Rounds"), this.trail,
      h("div", { class: "searchbox" }, this.search, h("kbd", {}, "/"), this.problem),
      this.live,
      h("button", { class: "icon", title: "d: light or dark", "aria-label": "light or dark", onclick: toggleTheme }, "◐"),
      h("button", { class: "icon", title: "?: keys and filters", "aria-label": "keys and filters", onclick: showHelp }, "?"));
  }

  update(route, runs, about) {
    this.sort = route.sort;
    this.isOnList = route.view === "groups";
    if (document.activeElement !== this.search) this.search.value = route.q;
    const names = runs.map((run) => shown(run.name)).join("  ⇄  ");
    const trail = [h("a", { href: overviewHref() }, names)];
    if (route.view !== "overview") trail.push(h("a", { href: groupsHref(route.q, route.sort) }, "groups"));
    if (route.view === "group") trail.push(h("span", { class: "here" }, shown(route.prompt)));
    this.trail.replaceChildren(...trail);
    document.title = (route.view === "group" ? `${shown(route.prompt)} · ` : "") + names + " · Rounds";
    this.follow(about);
  }

  follow(about) {
    if (isExport) this.live.replaceChildren(h("span", { class: "quiet" }, "exported page"));
    else if (!about) this.live.replaceChildren();
    else if (!about.ready) this.live.replaceChildren(h("i", { class: "pulse" }), ` reading step ${about.last_step ?? "…"}`);
    else if (about.is_writing) this.live.replaceChildren(h("i", { class: "pulse" }), ` step ${about.last_step} is being written`);
    else this.live.replaceChildren(h("span", { class: "quiet" }, `${about.num_steps} steps`));
  }
}

export function toggleTheme() {
  const isDark = document.documentElement.dataset.theme ? document.documentElement.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  setTheme(isDark ? "light" : "dark");
}

export function setTheme(theme) {
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  try {
    localStorage.setItem("rounds-theme", theme);
  } catch {
    // A page opened from a file may have no storage; the choice then lasts as long as the page.
  }
}

export function storedTheme() {
  try {
    return localStorage.getItem("rounds-theme");
  } catch {
    return null;
  }
}
