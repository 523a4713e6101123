// Search, three-dimensional views, light and dark, the menu of narrow windows. Works from a disk: data come as scripts.
(() => {
  "use strict";
  const page = document.documentElement;
  page.classList.add("js");

  const loaded = {};
  const load = (source) => loaded[source] ??= new Promise((done, failed) => {
    const script = document.createElement("script");
    Object.assign(script, {src: source, onload: done, onerror: () => failed(new Error(`${source} is not there`))});
    document.head.append(script);
  });

  // ---- light and dark
  document.querySelector(".theme").addEventListener("click", () => {
    const dark = page.dataset.theme ? page.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    page.dataset.theme = dark ? "light" : "dark";
    try { localStorage.matattnTheme = page.dataset.theme; } catch (error) { /* no storage: for this page only */ }
  });

  // ---- the menu of narrow windows
  const menu = document.querySelector(".menu");
  const setMenu = (open) => { page.classList.toggle("menu-open", open); menu.setAttribute("aria-expanded", open); };
  menu.addEventListener("click", (event) => { event.preventDefault(); setMenu(!page.classList.contains("menu-open")); });
  const side = document.querySelector(".side"), here = side.querySelector("[aria-current=page]");
  if (here && here.offsetTop > side.clientHeight - 60) side.scrollTop = here.offsetTop - side.clientHeight/2;

  // ---- search
  const box = document.querySelector(".search input"), found = document.getElementById("found");
  const plain = (text) => text.toLowerCase().normalize("NFKD").replace(/[\u0300-\u036f]/g, "");
  const escape = (text) => text.replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);
  let chosen = 0;

  const score = (words, [title, head, , text]) => {
    const places = [plain(head || title), plain(title), plain(text)];
    let sum = 0;
    for (const word of words) {
      const best = Math.max(...places.map((place, k) => {
        const at = place.indexOf(word);
        if (at < 0) return 0;
        const starts = at === 0 || /[^\p{L}\p{N}]/u.test(place[at - 1]);
        return [12, 5, 2][k] * (starts ? 2 : 1) * (place.length === word.length ? 3 : 1);
      }));
      if (!best) return 0;
      sum += best;
    }
    return sum + (head ? 0 : 3);
  };

  const marked = (text, words) => {
    const pattern = words.map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).join("|");
    return escape(text).replace(new RegExp(`(${pattern})`, "gi"), "<mark>$1</mark>");
  };

  const choose = (k) => {
    const all = [...found.querySelectorAll("a")];
    if (!all.length) return;
    chosen = (k + all.length) % all.length;
    all.forEach((one, j) => one.setAttribute("aria-selected", j === chosen));
    all[chosen].scrollIntoView({block: "nearest"});
  };

  const search = async () => {
    const words = plain(box.value).split(/\s+/).filter(Boolean);
    found.hidden = !words.length;
    if (!words.length) return;
    await load(box.dataset.script);
    const best = matattn.parts.map((part) => [score(words, part), part]).filter(([points]) => points)
      .sort((a, b) => b[0] - a[0]).slice(0, 20);
    found.innerHTML = best.map(([, [title, head, url, text]]) =>
      `<a role="option" href="${matattn.root}/${url}">${marked(head || title, words)}<span>${[head && escape(title), marked(text, words)].filter(Boolean).join(" · ")}</span></a>`).join("")
      || `<p>Nothing has “${escape(box.value.trim())}”.</p>`;
    choose(0);
  };

  box.addEventListener("input", search);
  box.addEventListener("focus", () => { load(box.dataset.script); if (box.value) search(); });
  box.form.addEventListener("submit", (event) => { event.preventDefault(); found.querySelectorAll("a")[chosen]?.click(); });
  box.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") { event.preventDefault(); choose(chosen + (event.key === "ArrowDown" ? 1 : -1)); }
    if (event.key === "Escape") { found.hidden = true; box.blur(); }
  });
  found.addEventListener("click", () => { found.hidden = true; });
  document.addEventListener("click", (event) => { if (!event.target.closest(".search")) found.hidden = true; });
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !/INPUT|TEXTAREA|SELECT/.test(event.target.tagName)) { event.preventDefault(); box.focus(); }
    if (event.key === "Escape") setMenu(false);
  });

  // ---- three-dimensional views: one script for all pages, loaded when a view comes near
  const unpack = (value, shared) => {
    if (Array.isArray(value)) return value.map((each) => unpack(each, shared));
    if (!value || typeof value !== "object") return value;
    if ("_s" in value) return shared[value._s];
    if ("_r" in value) return value._r[0].flatMap((word, k) => Array(value._r[1][k]).fill(word));
    return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, unpack(each, shared)]));
  };
  const show = async (view) => {
    try {
      await Promise.all([load(`${matattn.root}/assets/plotly.js`), load(view.dataset.script)]);
      view.classList.add("ready");
      view.textContent = "";
      const {shared, figure} = matattn.views[view.dataset.view];
      const {data, layout, frames} = unpack(figure, shared);
      await Plotly.newPlot(view, {data, frames, layout: {...layout, width: undefined, autosize: true}, config: {displaylogo: false, responsive: true}});
    } catch (error) {
      view.classList.remove("ready");
      view.innerHTML = `<p>${escape(error.message || "This browser cannot show the view")}.</p>`;
    }
  };
  const near = new IntersectionObserver((entries) => entries.filter((entry) => entry.isIntersecting).forEach((entry) => {
    near.unobserve(entry.target);
    show(entry.target);
  }), {rootMargin: "300px"});
  document.querySelectorAll(".view").forEach((view) => near.observe(view));
})();
