// Building the page. Text only ever becomes a text node: nothing that a model or a judge wrote is read as markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith("aria-") && typeof value === "boolean") element.setAttribute(name, String(value));
    if (value === undefined || value === null || value === false || (value === true && name.startsWith("aria-"))) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "data") Object.assign(element.dataset, value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...present(children));
  return element;
}

function present(children) {
  return children.flat(9).filter((one) => one !== null && one !== undefined && one !== false);
}

// The same children rules as `h`, for an element that is there already.
export function put(element, ...children) {
  element.replaceChildren(...present(children));
}

export function h(tag, attributes, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

// What would act on the reader instead of being read: control, bidirectional, zero-width and tag characters, lone surrogates.
const ACTING = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;

export function shown(text) {
  return String(text ?? "").replace(ACTING, (one) => {
    if (one === "\n" || one === "\t") return one;
    return "⟨U+" + one.codePointAt(0).toString(16).toUpperCase().padStart(4, "0") + "⟩";
  });
}

export function number(value, digits = 2) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  return value.toFixed(digits).replace("-", "−");
}

export function signed(value, digits = 2) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  return (value > 0 ? "+" : "") + number(value, digits);
}

export function percent(value) {
  return value === null || value === undefined ? "–" : Math.round(value * 100) + " %";
}

export function count(value) {
  return Number(value || 0).toLocaleString("en-US");
}

export function plural(value, one, many = one + "s") {
  return `${count(value)} ${value === 1 ? one : many}`;
}

let noteTimer = 0;

export function note(text, isProblem = false) {
  const place = document.getElementById("note");
  place.replaceChildren(h("span", { class: isProblem ? "bad" : "" }, shown(text)));
  place.classList.add("on");
  clearTimeout(noteTimer);
  noteTimer = setTimeout(() => place.classList.remove("on"), isProblem ? 8000 : 2500);
}
