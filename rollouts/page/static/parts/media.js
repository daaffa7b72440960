// The image beside the answers: one picture large, the slices or frames of a volume as a strip, zoom and pan by wheel, drag and keys.

import { imageUrl } from "/static/api.js";
import { h, shown } from "/static/dom.js";

const MOST_ZOOM = 16;

export class MediaView {
  constructor(group) {
    this.frames = group.media.flatMap((medium, number) => medium.frames.map((frame, at) => ({ ...frame, kind: medium.kind, at, of: medium.frames.length, medium: number })));
    this.group = group;
    this.at = 0;
    // The middle slice of a volume says more than its first.
    if (this.frames.length && this.frames[0].kind !== "image") this.at = Math.floor((this.frames[0].of - 1) / 2);
    this.zoom = 1;
    this.offset = [0, 0];
    this.stage = h("div", { class: "stage", tabindex: 0, role: "img" });
    this.caption = h("p", { class: "caption" });
    this.strip = h("div", { class: "slices", role: "group", "aria-label": "slices" });
    this.element = h("div", { class: "media" }, this.stage, this.strip, this.caption);
    this.draw();
    this.listen();
  }

  draw() {
    if (!this.frames.length) {
      this.stage.replaceChildren(h("p", { class: "quiet" }, "this question has no image"));
      return;
    }
    const frame = this.frames[this.at];
    this.stage.setAttribute("aria-label", this.describe(frame));
    if (frame.problem) this.stage.replaceChildren(h("p", { class: "bad" }, `image not shown: ${shown(frame.problem)}`));
    else this.stage.replaceChildren(this.picture(frame));
    this.caption.replaceChildren(...this.captionOf(frame));
    this.strip.replaceChildren(...(this.frames.length < 2 ? [] : this.frames.map((one, at) => this.thumb(one, at))));
    this.place();
  }

  picture(frame) {
    const image = h("img", { alt: this.describe(frame), draggable: "false" });
    image.addEventListener("load", () => {
      // Small pictures are shown as the pixels they are, not as a blur.
      image.classList.toggle("pixels", Math.max(image.naturalWidth, image.naturalHeight) < 256);
      this.size = [image.naturalWidth, image.naturalHeight];
      this.caption.replaceChildren(...this.captionOf(frame));
    });
    image.addEventListener("error", () => this.stage.replaceChildren(h("p", { class: "bad" }, "image not shown: it does not open, or it was refused")));
    image.src = imageUrl(frame.sha256);
    return image;
  }

  thumb(frame, at) {
    const content = frame.problem ? h("span", { class: "noimage" }, "?") : h("img", { src: imageUrl(frame.sha256, true), alt: "", width: 44, height: 44 });
    return h("button", { "aria-pressed": at === this.at, title: this.describe(frame), onclick: () => this.show(at) }, content,
      h("small", {}, frame.index ?? frame.at + 1));
  }

  describe(frame) {
    const name = [this.group.modality, frame.kind].filter(Boolean).map(shown).join(" ");
    if (frame.of < 2) return name;
    return `${name}, ${frame.kind === "video" ? "frame" : "slice"} ${frame.at + 1} of ${frame.of}${frame.index === null ? "" : ` (index ${frame.index})`}`;
  }

  captionOf(frame) {
    const window_ = Object.entries(this.group.tags).find(([name]) => /window/i.test(name));
    const told = [this.describe(frame), this.size && `${this.size[0]} × ${this.size[1]} px`,
      window_ ? `window ${shown(window_[1])}` : "as the model saw it, 8 bit; no window is recorded"];
    return [told.filter(Boolean).join(" · "), " ", h("span", { class: "zoomed" }, this.zoom > 1 ? `${this.zoom.toFixed(1)}×` : "")];
  }

  show(at) {
    if (!this.frames.length) return;
    this.at = (at + this.frames.length) % this.frames.length;
    this.draw();
  }

  zoomTo(zoom) {
    this.zoom = Math.max(1, Math.min(MOST_ZOOM, zoom));
    if (this.zoom === 1) this.offset = [0, 0];
    this.place();
  }

  place() {
    const image = this.stage.querySelector("img");
    if (image) image.style.transform = `translate(${this.offset[0]}px, ${this.offset[1]}px) scale(${this.zoom})`;
    this.stage.classList.toggle("zoomed", this.zoom > 1);
    const told = this.caption.querySelector(".zoomed");
    if (told) told.textContent = this.zoom > 1 ? `${this.zoom.toFixed(1)}×` : "";
  }

  listen() {
    this.stage.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && this.frames.length > 1 && this.zoom === 1) this.show(this.at + Math.sign(event.deltaY));
      else this.zoomTo(this.zoom * (event.deltaY < 0 ? 1.2 : 1 / 1.2));
      event.preventDefault();
    }, { passive: false });
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
}
