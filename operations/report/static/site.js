// Draws the plots in the page's colours, makes tables sortable, and moves the threshold. Needs vega.js and tables.js.
(() => {
  "use strict";
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const colour = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  const views = new Map();

  function theme() {
    const [ink, muted, line] = ["--ink", "--muted", "--line"].map(colour);
    const series = [1, 2, 3, 4, 5, 6, 7].map((each) => colour(`--series-${each}`));
    const font = getComputedStyle(document.body).fontFamily;
    return {
      aria: false, background: "transparent", font, view: { stroke: null }, range: { category: series },
      axis: {
        labelColor: muted, titleColor: muted, domainColor: line, tickColor: line, gridColor: line, gridOpacity: 0.7,
        labelFontSize: 11.5, titleFontSize: 12, titleFontWeight: 400, labelPadding: 5, titlePadding: 8,
      },
      axisX: { grid: false }, axisBand: { grid: false },
      legend: { labelColor: ink, labelFontSize: 12, orient: "top", symbolSize: 90, offset: 4, columnPadding: 18 },
      mark: { color: series[0] }, line: { strokeWidth: 2.2 },
      area: { line: { strokeWidth: 1.6 } },
      style: {
        reference: { color: muted, stroke: muted, strokeDash: [5, 4], strokeWidth: 1.2 },
        interval: { color: ink, stroke: ink, strokeWidth: 1.4, opacity: 0.75 },
        thread: { color: muted, stroke: muted, strokeWidth: 1.3, opacity: 0.6 },
        chosen: { color: series[1], fill: series[1], fillOpacity: 1, stroke: colour("--panel"), strokeWidth: 2 },
      },
    };
  }

  // Long names leave no room for the plot on a phone.
  function shorten(part, limit) {
    for (const [key, value] of Object.entries(part)) {
      if (key === "labelLimit" && value > limit) part[key] = limit;
      else if (value && typeof value === "object") shorten(value, limit);
    }
  }

  async function draw(figure, settings) {
    const target = figure.querySelector(".plot");
    const spec = JSON.parse(figure.querySelector("script").textContent);
    spec.width = "container";
    spec.autosize = { type: "fit", contains: "padding" };
    if (target.clientWidth < 480) shorten(spec, Math.round(target.clientWidth * 0.45));
    const before = views.get(figure.id);
    const chosen = before && signals(figure).map((input) => [input.dataset.signal, input.value]);
    if (before) before.finalize();
    const drawn = await vegaEmbed(target, spec, {
      actions: false, ast: true, config: settings, renderer: "svg", tooltip: { theme: "custom", disableDefaultStyle: true },
    });
    views.set(figure.id, drawn);
    target.querySelector("svg").setAttribute("aria-hidden", "true");
    for (const [name, value] of chosen || []) drawn.view.signal(name, value).run();
  }
  const signals = (figure) => [...document.querySelectorAll(`select[data-plot="${figure.id}"]`)];

  async function drawAll() {
    const settings = theme();
    for (const figure of document.querySelectorAll(".figure")) {
      if (figure.closest("details:not([open])")) continue; // it has no width yet
      await draw(figure, settings);
      await new Promise((next) => setTimeout(next)); // lets the page answer in between
    }
    root.dataset.plots = "drawn";
  }

  for (const select of document.querySelectorAll("select[data-signal]")) {
    select.addEventListener("change", () => {
      const drawn = views.get(select.dataset.plot);
      if (drawn) drawn.view.signal(select.dataset.signal, select.value).run();
    });
  }

  for (const table of document.querySelectorAll("table.sortable")) {
    const rows = table.tBodies[0].rows.length;
    const page = Number(table.dataset.page || 1000);
    new Tables(table, {
      order: [], autoWidth: false, paging: rows > page, pageLength: page, lengthChange: false, info: rows > page,
      searching: rows > 15, language: { search: "Filter", info: "_START_ to _END_ of _TOTAL_", emptyTable: "nothing" },
      layout: { topStart: rows > 15 ? "search" : null, topEnd: null, bottomStart: rows > page ? "info" : null, bottomEnd: rows > page ? "paging" : null },
    });
    const frame = table.closest(".dt-layout-table") || table.parentElement;
    const name = table.caption ? table.caption.textContent.trim() : "Table";
    Object.entries({ role: "region", tabindex: "0", "aria-label": name }).forEach((pair) => frame.setAttribute(...pair));
  }

  for (const panel of document.querySelectorAll(".confusion")) {
    const table = JSON.parse(panel.dataset.thresholds);
    const slider = panel.querySelector("input");
    const share = (part, whole) => (whole ? `${((100 * part) / whole).toFixed(1)} %` : "\u2013");
    const put = (name, text) => { panel.querySelector(`[data-cell=${name}]`).textContent = text; };
    const move = (plot, x, y) => {
      const drawn = views.get(plot);
      if (drawn) drawn.view.data("chosen", Number.isFinite(x) && Number.isFinite(y) ? [{ x, y }] : []).run();
    };
    slider.addEventListener("input", () => {
      const [threshold, tp, fp, tn, fn] = table[Number(slider.value)];
      panel.querySelector("output").textContent = threshold.toFixed(2);
      Object.entries({ tp, fp, tn, fn }).forEach(([name, rows]) => put(name, rows.toLocaleString("en")));
      put("precision", share(tp, tp + fp));
      put("recall", share(tp, tp + fn));
      put("accuracy", share(tp + tn, tp + fp + tn + fn));
      put("called", share(tp + fp, tp + fp + tn + fn));
      slider.setAttribute("aria-valuetext", `${threshold.toFixed(2)}: precision ${share(tp, tp + fp)}, recall ${share(tp, tp + fn)}`);
      move("plot-roc", fp / (fp + tn), tp / (tp + fn));
      move("plot-precision-recall", tp / (tp + fn), tp / (tp + fp));
    });
  }

  const links = new Map([...document.querySelectorAll(".sections a[href^='#']")].map((link) => [link.hash.slice(1), link]));
  if (links.size) {
    const watch = new IntersectionObserver((entries) => {
      for (const entry of entries) {
        if (entry.isIntersecting) links.forEach((link, key) => link.classList.toggle("here", key === entry.target.getAttribute("aria-labelledby")));
      }
    }, { rootMargin: "-15% 0px -75% 0px" });
    document.querySelectorAll("section[aria-labelledby]").forEach((section) => watch.observe(section));
  }

  if (document.querySelector(".figure")) {
    let queue = drawAll();
    const again = () => { queue = queue.then(drawAll); };
    dark.addEventListener("change", again);
    for (const part of document.querySelectorAll("details")) part.addEventListener("toggle", () => part.open && part.querySelector(".figure") && again());
    addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((part) => { part.open = true; }));
  } else root.dataset.plots = "drawn";
})();
