// The image beside the answers: one picture large, a scrubber over the slices or frames the model saw, all slices of the source where the server can read it,
// the outline of a mask, zoom and pan by wheel, drag and keys.

import { imageUrl, outlineUrl, sourceUrl } from "/static/api.js";
import { h, put, shown } from "/static/dom.js";

const MOST_ZOOM = 16;
const STEPS = { ArrowUp: -1, ArrowLeft: -1, ArrowDown: 1, ArrowRight: 1, PageUp: -5, PageDown: 5 };

export class MediaView {
  constructor(group) {
    this.seen = group.media.flatMap((medium, number) => medium.frames.map((frame, at) => ({ ...frame, kind: medium.kind, at, of: medium.frames.length, medium: number })));
    this.frames = this.seen;
    this.group = group;
    this.at = 0;
    // The middle slice of a volume says more than its first.
    if (this.frames.length && this.frames[0].kind !== "image") this.at = Math.floor((this.frames[0].of - 1) / 2);
    this.zoom = 1;
    this.offset = [0, 0];
    this.isOutlined = true;
    this.stage = h("div", { class: "stage", tabindex: 0, role: "img" });
    this.scrubber = h("input", { type: "range", class: "scrubber", min: 0, step: 1, oninput: () => this.show(Number(this.scrubber.value)) });
    this.switches = h("p", { class: "switches" });
    this.caption = h("p", { class: "caption", "aria-live": "polite" });
    this.facts = h("details", { class: "facts" });
    this.strip = h("div", { class: "slices", role: "group", "aria-label": "slices" });
    this.element = h("div", { class: "media" }, this.stage, this.scrubber, this.strip, this.caption, this.switches, this.facts);
    this.draw();
    this.listen();
  }

  draw() {
    if (!this.frames.length) {
      this.stage.replaceChildren(h("p", { class: "quiet" }, "this question has no image"));
      this.scrubber.hidden = true;
      return;
    }
    const frame = this.frames[this.at];
    this.stage.setAttribute("aria-label", this.describe(frame));
    if (frame.problem) this.stage.replaceChildren(h("p", { class: "bad" }, `image not shown: ${shown(frame.problem)}`));
    else this.load(frame);
    put(this.caption, this.captionOf(frame));
    this.drawScrubber(frame);
    // Beside all slices of a source there is no strip: there may be hundreds.
    this.strip.replaceChildren(...(this.seen.length < 2 || this.isAll() ? [] : this.frames.map((one, at) => this.thumb(one, at))));
    this.drawSwitches(frame);
    this.drawFacts(frame);
    this.place();
  }

  drawScrubber(frame) {
    this.scrubber.hidden = this.frames.length < 2;
    this.scrubber.max = this.frames.length - 1;
    this.scrubber.value = this.at;
    this.scrubber.setAttribute("aria-label", frame.kind === "video" ? "frame" : "slice");
    this.scrubber.setAttribute("aria-valuetext", this.describe(frame));
  }

  drawSwitches(frame) {
    const medium = this.group.media[frame.medium];
    const masked = this.seen.some((one) => one.mask);
    const name = frame.kind === "video" ? "frames" : "slices";
    const buttons = [
      masked && h("button", { class: "chip outlined", "aria-pressed": this.isOutlined, title: "m", onclick: () => this.outline() }, "outline of the mask"),
      medium.source && frame.kind !== "image" && h("button", { class: "chip all", "aria-pressed": this.isAll(), title: "s", onclick: () => this.all() },
        medium.count ? `all ${medium.count} ${name} of the source` : `all ${name} of the source`),
    ];
    put(this.switches, buttons);
    this.switches.hidden = !buttons.some(Boolean);
  }

  drawFacts(frame) {
    const facts = this.group.media[frame.medium].facts || [];
    const isOpen = this.facts.open;
    this.facts.hidden = facts.length === 0;
    put(this.facts, h("summary", {}, "How it was read"), h("dl", {}, facts.map(([name, text]) => [h("dt", {}, shown(name)), h("dd", { class: "text" }, shown(text))])));
    this.facts.open = isOpen;
  }

  // The picture before stays until this one is there, so that walking through slices does not flicker.
  load(frame) {
    const image = h("img", { class: "shown", alt: this.describe(frame), draggable: "false" });
    const outline = this.isOutlined && frame.mask && h("img", { class: "outline", src: outlineUrl(frame.mask), alt: "", draggable: "false" });
    const isCurrent = () => this.frames[this.at] === frame;
    const settle = (...children) => {
      if (!isCurrent()) return;
      this.stage.removeAttribute("aria-busy");
      put(this.stage, children);
      this.place();
    };
    image.addEventListener("load", () => {
      // Small pictures are shown as the pixels they are, not as a blur.
      const isSmall = Math.max(image.naturalWidth, image.naturalHeight) < 256;
      for (const one of [image, outline]) if (one) one.classList.toggle("pixels", isSmall);
      this.size = [image.naturalWidth, image.naturalHeight];
      settle(image, outline);
      if (isCurrent()) put(this.caption, this.captionOf(frame));
    });
    image.addEventListener("error", () => settle(h("p", { class: "bad" }, "image not shown: it does not open, or it was refused")));
    image.src = frame.sha256 ? imageUrl(frame.sha256) : sourceUrl(this.group.step, this.group.prompt, frame.medium, frame.index);
    this.stage.setAttribute("aria-busy", "true");
    if (!this.stage.querySelector("img")) put(this.stage, image, outline);
  }

  thumb(frame, at) {
    const content = frame.problem ? h("span", { class: "noimage" }, "?") : h("img", { src: imageUrl(frame.sha256, true), alt: "", width: 44, height: 44 });
    return h("button", { "aria-pressed": at === this.at, title: this.describe(frame), onclick: () => this.show(at) }, content,
      h("small", {}, frame.index ?? frame.at + 1));
  }

  describe(frame) {
    const name = [this.group.modality, frame.kind].filter(Boolean).map(shown).join(" ");
    const one = frame.kind === "video" ? "frame" : "slice";
    if (!frame.sha256) return `${name}, ${one} ${frame.index + 1} of ${frame.of} of the source`;
    if (frame.of < 2) return name;
    return `${name}, ${one} ${frame.at + 1} of ${frame.of}${frame.index === null ? "" : ` (index ${frame.index})`}`;
  }

  captionOf(frame) {
    const window_ = Object.entries(this.group.tags).find(([name]) => /window/i.test(name));
    const read = frame.line ? shown(frame.line) : window_ ? `window ${shown(window_[1])}` : "as the model saw it, 8 bit; no window is recorded";
    const name = frame.line && frame.of > 1 ? `${frame.at + 1} of ${frame.of} that the model saw` : this.describe(frame);
    const told = [name, this.size && `${this.size[0]} × ${this.size[1]} px`, frame.sha256 ? read : "", frame.label && `asked as “${shown(frame.label)}”`];
    return [told.filter(Boolean).join(" · "), !frame.sha256 && h("b", { class: "unseen" }, " · not shown to the model"), " ", h("span", { class: "zoomed" }, this.zoom > 1 ? `${this.zoom.toFixed(1)}×` : "")];
  }

  show(at) {
    if (!this.frames.length) return;
    this.at = (at + this.frames.length) % this.frames.length;
    this.draw();
  }

  outline() {
    this.isOutlined = !this.isOutlined;
    this.draw();
  }

  isAll() {
    return this.frames !== this.seen;
  }

  // All slices of the source in place of those the model saw, which stay among them as they were shown; and back.
  all() {
    const frame = this.frames[this.at];
    const medium = frame && this.group.media[frame.medium];
    if (!medium || !medium.source || !medium.count) return;
    const number = frame.medium;
    if (this.isAll()) {
      this.frames = this.seen;
      const own = this.seen.map((one, at) => [Math.abs((one.index ?? one.at) - frame.index), at, one.medium]).filter((one) => one[2] === number);
      this.at = own.sort((a, b) => a[0] - b[0])[0][1];
    } else {
      const known = new Map(this.seen.filter((one) => one.medium === number).map((one) => [one.index ?? one.at, one]));
      this.frames = Array.from({ length: medium.count }, (_, index) => known.get(index) || { index, kind: medium.kind, at: index, of: medium.count, medium: number });
      this.at = Math.max(0, this.frames.indexOf(frame));
    }
    this.draw();
  }

  zoomTo(zoom) {
    this.zoom = Math.max(1, Math.min(MOST_ZOOM, zoom));
    if (this.zoom === 1) this.offset = [0, 0];
    this.place();
  }

  place() {
    for (const image of this.stage.querySelectorAll("img")) image.style.transform = `translate(${this.offset[0]}px, ${this.offset[1]}px) scale(${this.zoom})`;
    this.stage.classList.toggle("zoomed", this.zoom > 1);
    const told = this.caption.querySelector(".zoomed");
    if (told) told.textContent = this.zoom > 1 ? `${this.zoom.toFixed(1)}×` : "";
  }

  listen() {
    // On the picture the arrows walk through the slices; elsewhere on the page they choose a completion.
    this.stage.addEventListener("keydown", (event) => this.walk(event));
    this.scrubber.addEventListener("keydown", (event) => this.walk(event));
    const turn = (event) => {
      if (!event.ctrlKey && this.frames.length > 1 && this.zoom === 1) this.show(Math.max(0, Math.min(this.frames.length - 1, this.at + Math.sign(event.deltaY))));
      else this.zoomTo(this.zoom * (event.deltaY < 0 ? 1.2 : 1 / 1.2));
      event.preventDefault();
    };
    this.stage.addEventListener("wheel", turn, { passive: false });
    this.scrubber.addEventListener("wheel", turn, { passive: false });
    this.stage.addEventListener("dblclick", () => this.zoomTo(this.zoom > 1 ? 1 : 3));
    this.stage.addEventListener("pointerdown", (event) => {
      if (this.zoom === 1) return;
      const from = [event.clientX - this.offset[0], event.clientY - this.offset[1]];
      const move = (moved) => { this.offset = [moved.clientX - from[0], moved.clientY - from[1]]; this.place(); };
      this.stage.setPointerCapture(event.pointerId);
      this.stage.addEventListener("pointermove", move);
      this.stage.addEventListener("pointerup", () => this.stage.removeEventListener("pointermove", move), { once: true });
    });
  }

  walk(event) {
    if (this.frames.length < 2 || event.ctrlKey || event.altKey || event.metaKey) return;
    const last = this.frames.length - 1;
    const to = event.key === "Home" ? 0 : event.key === "End" ? last : event.key in STEPS ? this.at + STEPS[event.key] : null;
    if (to === null) return;
    this.show(Math.max(0, Math.min(last, to)));
    event.preventDefault();
    event.stopPropagation();
  }
}
