// Asks the server, or in an exported page the data that it carries.

import { answerFrom } from "/static/offline.js";

const carried = document.getElementById("carried");
export const carriedData = carried ? JSON.parse(carried.textContent) : null;
export const isExport = carriedData !== null;

let session = null;

export async function ask(path, values = {}) {
  if (isExport) return answerFrom(carriedData, path, values);
  const query = new URLSearchParams(Object.entries(values).filter(([, value]) => value !== "" && value !== undefined && value !== null));
  const response = await fetch(`/api/${path}?${query}`, { credentials: "omit" });
  return answerOf(response);
}

async function answerOf(response) {
  let answer;
  try {
    answer = await response.json();
  } catch {
    throw new Error(`the server said ${response.status}`);
  }
  if (!response.ok) throw new Error(answer.error || `the server said ${response.status}`);
  return answer;
}

export async function startSession() {
  session = await ask("session");
  return session;
}

export function sessionFacts() {
  return session;
}

export async function sendLabel(label) {
  const headers = { "content-type": "application/json", "x-rounds-token": session.token };
  return answerOf(await fetch("/api/label", { method: "POST", headers, body: JSON.stringify(label), credentials: "omit" }));
}

export function imageUrl(sha256, small = false) {
  if (isExport) return carriedData.images[sha256] || "";
  return `/${small ? "thumb" : "media"}/${encodeURIComponent(sha256)}.png`;
}

export function outlineUrl(sha256) {
  if (isExport) return carriedData.images[`outline ${sha256}`] || "";
  return `/outline/${encodeURIComponent(sha256)}.png`;
}

// One slice or frame of a medium's own file; an exported page has none.
export function sourceUrl(step, prompt, medium, index) {
  return "/source.png?" + new URLSearchParams({ step, prompt, medium, index });
}

export function exportUrl(q, sort) {
  return "/api/export?" + new URLSearchParams({ q, sort, limit: 50 });
}
