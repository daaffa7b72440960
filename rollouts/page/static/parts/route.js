// Where the reader is: the part after # names it, so every place has an address that can be sent to a colleague.
//   #/   #/groups?q=is:disagree&sort=-spread   #/g/STEP/PROMPT/SAMPLE?q=..

export function readRoute() {
  const [path, query] = location.hash.replace(/^#/, "").split("?");
  const parts = (path || "/").split("/").slice(1).map(decoded);
  const values = new URLSearchParams(query || "");
  const route = { view: "overview", q: values.get("q") || "", sort: values.get("sort") || "step" };
  if (parts[0] === "groups") route.view = "groups";
  if (parts[0] === "g" && /^\d+$/.test(parts[1] || "")) {
    Object.assign(route, { view: "group", step: Number(parts[1]), prompt: parts[2] || "" });
    if (/^\d+$/.test(parts[3] || "")) route.sample = Number(parts[3]);
  }
  return route;
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

function withSearch(path, q, sort) {
  const values = new URLSearchParams();
  if (q) values.set("q", q);
  if (sort && sort !== "step") values.set("sort", sort);
  const query = values.toString();
  return "#" + path + (query ? "?" + query : "");
}

export function overviewHref(q = "") {
  return withSearch("/", q);
}

export function groupsHref(q = "", sort = "step") {
  return withSearch("/groups", q, sort);
}

export function groupHref(group, q = "", sort = "step", sample = undefined) {
  const end = sample === undefined || sample === null ? "" : "/" + sample;
  return withSearch(`/g/${group.step}/${encodeURIComponent(group.prompt)}${end}`, q, sort);
}

export function go(href, replace = false) {
  if (location.hash === href) window.dispatchEvent(new HashChangeEvent("hashchange"));
  else if (replace) {
    history.replaceState(null, "", href);
    window.dispatchEvent(new HashChangeEvent("hashchange"));
  } else location.hash = href;
}

// The terms of a search, quoted ones whole.
export function terms(q) {
  return q.match(/-?(?:[A-Za-z_]+[:=])?(?:"[^"]*"|\S+)/g) || [];
}

export function hasTerm(q, term) {
  return terms(q).includes(term);
}

export function toggledTerm(q, term) {
  const kept = terms(q).filter((one) => one !== term);
  return (hasTerm(q, term) ? kept : [...kept, term]).join(" ");
}

export function withField(q, name, value) {
  const kept = terms(q).filter((one) => !one.startsWith(name + ":"));
  return (value ? [...kept, `${name}:${/[\s,]/.test(value) ? `"${value}"` : value}`] : kept).join(" ");
}

export function fieldOf(q, name) {
  const term = terms(q).find((one) => one.startsWith(name + ":"));
  return term ? term.slice(name.length + 1).replaceAll('"', "") : "";
}
