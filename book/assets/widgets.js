// Mounts the widgets of a built page, where no kernel and no network is: reads the state that the
// notebook saved, loads each widget's own module from it, and draws in the place of the still
// picture, which stays if anything fails. A classic script, since pages opened from disk may not
// load modules from files; a module made from text they may.
(() => {
  const STATE = 'script[type="application/vnd.jupyter.widget-state+json"]';

  function mountAll() {
    const saved = document.querySelector(STATE);
    if (!saved) return;
    const { state, texts } = JSON.parse(saved.textContent);
    for (const place of document.querySelectorAll(".d2l-widget[data-model]")) {
      const entry = state[place.dataset.model];
      if (entry) mount(place, entry, texts).catch((error) => console.error("widget not drawn:", error));
    }
  }

  async function mount(place, entry, texts) {
    const traits = { ...entry.state };
    for (const name of ["_esm", "_css"]) traits[name] = whole(traits[name], texts);
    for (const { path, data } of entry.buffers ?? []) traits[path[0]] = decode(data);
    addStyle(traits._css);
    const { default: widget } = await load(traits._esm);
    const el = document.createElement("div");
    await widget.render({ model: new StillModel(traits), el });
    place.replaceChildren(el);
  }

  /** A text, or the places in `texts` of what it is made of: a page has each text once. */
  const whole = (text, texts) => (Array.isArray(text) ? text.map((i) => texts[i]).join("") : text);

  const modules = new Map(); // each script once, however many figures of a page share it
  function load(source) {
    if (!modules.has(source)) {
      const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
      modules.set(source, import(url).finally(() => URL.revokeObjectURL(url)));
    }
    return modules.get(source);
  }

  const styles = new Set();
  function addStyle(css) {
    if (!css || styles.has(css)) return;
    styles.add(css);
    document.head.append(Object.assign(document.createElement("style"), { textContent: css }));
  }

  /** base64 → DataView, as a live front end gives bytes. */
  function decode(base64) {
    const text = atob(base64);
    const view = new DataView(new ArrayBuffer(text.length));
    for (let i = 0; i < text.length; i++) view.setUint8(i, text.charCodeAt(i));
    return view;
  }

  /** The part of a Jupyter widget model that a figure needs, without a kernel behind it. */
  class StillModel {
    constructor(traits) {
      this.traits = traits;
      this.listeners = new Map();
    }
    get(name) {
      return this.traits[name];
    }
    set(name, value) {
      if (this.traits[name] === value) return;
      this.traits[name] = value;
      for (const listener of this.listeners.get(`change:${name}`) ?? []) listener();
    }
    on(event, listener) {
      this.listeners.set(event, [...(this.listeners.get(event) ?? []), listener]);
    }
    off(event, listener) {
      const left = (this.listeners.get(event) ?? []).filter((other) => other !== listener);
      this.listeners.set(event, listener ? left : []);
    }
    save_changes() {}
    send() {}
  }

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", mountAll);
  else mountAll();
})();
