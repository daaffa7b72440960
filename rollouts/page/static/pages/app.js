// Brings the place that the address names onto the page, hands keys on, and follows a run that is still going on.

import { ask, isExport, startSession } from "/static/api.js";
import { Bar, setTheme, storedTheme, toggleTheme } from "/static/bar.js";
import { h, note, shown } from "/static/dom.js";
import { GroupPage, forgetGroups, loadGroup } from "/static/group.js";
import { GroupList, groupsPage, moveInList } from "/static/groups.js";
import { helpSheet } from "/static/help.js";
import { overviewPage, problemList } from "/static/overview.js";
import { go, overviewHref, readRoute } from "/static/route.js";

const LOOK_MILLISECONDS = 2500;
const main = document.getElementById("main");
const state = { list: null, page: null, facts: null, about: null, turn: 0 };

function listFor(route) {
  if (!state.list || state.list.q !== route.q || state.list.sort !== route.sort) state.list = new GroupList(route.q, route.sort);
  return state.list;
}

async function drawGroup(route) {
  const list = listFor(route);
  const [group, position] = await Promise.all([loadGroup(route.step, route.prompt), list.positionOf(route.step, route.prompt)]);
  const row = position === null ? null : await list.at(position);
  state.page = new GroupPage(group, route, list, position, row?.hits && row.hits.length < row.num ? row.hits : null);
  prefetch(list, position);
  return state.page.element;
}

async function prefetch(list, position) {
  if (position === null) return;
  for (const next of [position + 1, position + 2, position - 1]) {
    const group = await list.at(next);
    if (!group) continue;
    loadGroup(group.step, group.prompt).catch(() => {});
  }
}

async function draw() {
  const turn = ++state.turn;
  const route = readRoute();
  try {
    if (!state.facts) state.facts = await ask("overview", { q: "" });
    let element;
    if (route.view === "group") element = await drawGroup(route);
    else if (route.view === "groups") element = await groupsPage(route, listFor(route), state.facts);
    else element = await overviewPage(route);
    if (turn !== state.turn) return;
    if (route.view !== "group") state.page = null;
    bar.problem.textContent = "";
    bar.update(route, state.facts.runs, state.about || state.facts);
    const isSameView = main.dataset.view === route.view;
    main.dataset.view = route.view;
    main.replaceChildren(...(route.view === "overview" ? [element] : [problemsBeside(), element].filter(Boolean)));
    if (!isSameView || route.view === "group") scrollTo(0, 0);
    if (route.view === "group" && route.sample !== undefined) state.page.selected?.element.scrollIntoView({ block: "nearest" });
  } catch (error) {
    if (turn !== state.turn) return;
    bar.update(route, state.facts?.runs || [], state.about);
    if (route.view === "groups" && main.dataset.view === "groups") bar.problem.textContent = shown(error.message);
    else main.replaceChildren(h("p", { class: "bad pad", role: "alert" }, shown(error.message)), h("p", { class: "pad" }, h("a", { href: overviewHref() }, "to the overview")));
  }
}

function problemsBeside() {
  const problems = state.facts?.problems || [];
  const list = problemList(problems);
  if (list) list.open = false;
  return list;
}

async function look() {
  if (document.visibilityState === "hidden") return;
  try {
    const about = await ask("about");
    const isNew = about.version !== (state.about || state.facts)?.version;
    state.about = about;
    bar.follow(about);
    if (isNew) await showNew();
  } catch {
    bar.live.replaceChildren(h("span", { class: "bad" }, "the viewer has stopped"));
  }
}

// What is being read does not move: a list only says that there is more.
async function showNew() {
  state.facts = await ask("overview", { q: "" });
  const route = readRoute();
  if (route.view === "overview") {
    if (!main.contains(document.activeElement) || document.activeElement === main) await draw();
  } else if (route.view === "groups") {
    const fresh = new GroupList(route.q, route.sort);
    await fresh.page(0);
    const more = (fresh.total || 0) - (state.list?.total || 0);
    if (more > 0 && scrollY < 40 && !document.querySelector(".groups :focus")) {
      state.list = fresh;
      await draw();
    } else if (more > 0) main.querySelector(".found")?.replaceChildren(`${state.list.total} groups · `, h("button", { class: "link", onclick: () => { state.list = fresh; draw(); } }, `${more} more since: show`));
  }
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea, dialog")) return;
  const everywhere = {
    "/": () => { bar.search.focus(); bar.search.select(); },
    "?": () => help.showModal(), d: toggleTheme, g: () => go(overviewHref()),
  };
  if (everywhere[event.key]) everywhere[event.key]();
  else if (state.page?.key(event)) forgetIfLabelled(event.key);
  else if (readRoute().view === "groups" && (event.key === "j" || event.key === "k")) moveInList(event.key === "j" ? 1 : -1);
  else return;
  event.preventDefault();
}

function forgetIfLabelled(key) {
  if ("ynu".includes(key)) forgetGroups();
}

const theme = storedTheme();
if (theme) setTheme(theme);
await startSession();
const help = helpSheet();
const bar = new Bar(() => help.showModal());
window.addEventListener("hashchange", draw);
document.addEventListener("keydown", onKey);
window.addEventListener("unhandledrejection", (event) => note(String(event.reason?.message || event.reason), true));
await draw();
if (!isExport) setInterval(look, LOOK_MILLISECONDS);
