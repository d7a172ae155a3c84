// What a page does without asking the server: chart values under the pointer, light and dark, the tab in the address.
(() => {
  const tabs = ["model", "data", "tune", "chat", "export", "history"];

  document.addEventListener("pointermove", (event) => {
    const chart = event.target.closest?.(".chart[data-points]");
    document.querySelectorAll(".chart .tip, .chart .hair").forEach((mark) => {
      if (!chart || !chart.contains(mark)) mark.style.visibility = "hidden";
    });
    if (!chart) return;
    const points = JSON.parse(chart.dataset.points);
    const svg = chart.querySelector("svg"), tip = chart.querySelector(".tip"), hair = chart.querySelector(".hair");
    if (!points.length || !svg) return;
    const box = svg.getBoundingClientRect(), scale = svg.viewBox.baseVal.width / box.width;
    const x = (event.clientX - box.left) * scale;
    const near = points.reduce((best, point) => (Math.abs(point[0] - x) < Math.abs(best[0] - x) ? point : best));
    tip.textContent = near[1];
    hair.setAttribute("x1", near[0]); hair.setAttribute("x2", near[0]);
    const left = near[0] / scale;
    tip.style.left = `${Math.min(left + 12, box.width - tip.offsetWidth - 4)}px`;
    tip.style.visibility = hair.style.visibility = "visible";
  });

  // The log shows its end, as long as nobody scrolled up in it.
  new MutationObserver(() => {
    document.querySelectorAll("pre.log").forEach((log) => {
      if (log.dataset.seen !== String(log.textContent.length)) {
        log.dataset.seen = String(log.textContent.length);
        log.scrollTop = log.scrollHeight;
      }
    });
  }).observe(document.documentElement, { childList: true, subtree: true });

  const applyTheme = (dark) => document.body.classList.toggle("dark", dark);
  const stored = localStorage.getItem("studio-theme");
  const asked = new URLSearchParams(location.search).get("__theme");
  const wanted = asked ?? stored;
  const whenReady = (work) => (document.body ? work() : document.addEventListener("DOMContentLoaded", work));
  if (wanted) whenReady(() => applyTheme(wanted === "dark"));

  document.addEventListener("click", (event) => {
    if (event.target.closest?.("#theme-switch")) {
      const dark = !document.body.classList.contains("dark");
      applyTheme(dark);
      localStorage.setItem("studio-theme", dark ? "dark" : "light");
    }
    const jump = event.target.closest?.("[data-tab]");
    if (jump) document.querySelectorAll('.tabs button[role="tab"]')[tabs.indexOf(jump.dataset.tab)]?.click();
    const tab = event.target.closest?.('button[role="tab"]');
    if (tab) {
      const all = [...tab.parentElement.querySelectorAll('button[role="tab"]')];
      const name = tabs[all.indexOf(tab)];
      const address = new URL(location.href);
      address.searchParams.set("tab", name);
      if (name !== "history") address.searchParams.delete("run");
      history.replaceState(null, "", address);
    }
    const row = event.target.closest?.("tr[data-run]");
    if (row) {
      const address = new URL(location.href);
      address.searchParams.set("run", row.dataset.run);
      history.replaceState(null, "", address);
    }
  });
})();

// Buttons inside our own HTML (row numbers, fixes) say what they mean to a text box that nobody sees.
(() => {
  let presses = 0;
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("[data-press]");
    const box = document.querySelector("#data-pressed textarea, #data-pressed input");
    if (!button || !box) return;
    presses += 1; // a number behind it, so that the same button can be pressed twice
    const kind = box instanceof HTMLTextAreaElement ? HTMLTextAreaElement : HTMLInputElement;
    Object.getOwnPropertyDescriptor(kind.prototype, "value").set.call(box, `${button.dataset.press}#${presses}`);
    box.dispatchEvent(new Event("input", { bubbles: true }));
  });
})();
