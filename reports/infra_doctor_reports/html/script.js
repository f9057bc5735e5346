"use strict";
(() => {
  // The page is complete without this script: it adds the theme switch, copying, filtering and saving.
  const root = document.documentElement;
  const themes = ["system", "light", "dark"];
  let theme = "system";
  try { theme = localStorage.getItem("infra-doctor-theme") || "system"; } catch { /* a file: page may have no storage */ }
  const applyTheme = () => {
    if (theme === "system" || !themes.includes(theme)) { root.removeAttribute("data-theme"); theme = "system"; }
    else { root.setAttribute("data-theme", theme); }
  };
  applyTheme(); // before the first paint

  const byId = (id) => document.getElementById(id);
  const all = (selector) => Array.from(document.querySelectorAll(selector));

  const addThemeSwitch = () => {
    const button = byId("theme");
    const label = () => { button.textContent = `Theme: ${theme}`; };
    button.addEventListener("click", () => {
      theme = themes[(themes.indexOf(theme) + 1) % themes.length];
      applyTheme();
      label();
      try { localStorage.setItem("infra-doctor-theme", theme); } catch { /* kept for this page only */ }
    });
    label();
    button.hidden = false;
  };

  const copyText = async (text, source) => {
    try {
      await navigator.clipboard.writeText(text);
      return "Copied";
    } catch {
      // Without the clipboard, the text is at least selected for Ctrl+C.
      getSelection().selectAllChildren(source);
      return "Selected";
    }
  };

  const addCopyButtons = () => {
    for (const block of all(".command")) {
      const code = block.querySelector("code");
      const button = document.createElement("button");
      button.type = "button";
      button.className = "quiet";
      button.textContent = "Copy";
      button.setAttribute("aria-live", "polite");
      button.addEventListener("click", async () => {
        button.textContent = await copyText(code.textContent, code);
        setTimeout(() => { button.textContent = "Copy"; }, 2000);
      });
      block.append(button);
    }
  };

  const addFilter = () => {
    const parts = all(".part").map((node) => ({ node, text: node.textContent.toLowerCase() }));
    if (!parts.length) { return; }
    const query = byId("query");
    const apply = () => {
      const words = query.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const { node, text } of parts) {
        node.hidden = !words.every((word) => text.includes(word));
        shown += node.hidden ? 0 : 1;
      }
      for (const group of all(".kindgroup")) { group.hidden = !group.querySelector(".part:not([hidden])"); }
      byId("matches").textContent = words.length ? `${shown} of ${parts.length} components` : "";
    };
    query.addEventListener("input", apply);
    const unfold = byId("unfold");
    unfold.addEventListener("click", () => {
      const open = unfold.textContent === "Unfold all";
      for (const { node } of parts) { node.open = open; }
      unfold.textContent = open ? "Fold all" : "Unfold all";
    });
    byId("filter").hidden = false;
  };

  // A link to something folded opens it, and everything around it.
  const openTarget = () => {
    let id = "";
    try { id = decodeURIComponent(location.hash.slice(1)); } catch { return; }
    const target = id && byId(id);
    if (!target) { return; }
    for (let node = target; node; node = node.parentElement) {
      if (node instanceof HTMLDetailsElement) { node.open = true; }
      node.hidden = false;
    }
    target.scrollIntoView();
  };

  const addSave = () => {
    const button = byId("save");
    button.addEventListener("click", () => {
      const blob = new Blob([byId("report-data").textContent], { type: "application/json" });
      const link = document.createElement("a");
      link.href = URL.createObjectURL(blob);
      link.download = "infra-doctor-report.json";
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    });
    button.hidden = false;
  };

  document.addEventListener("DOMContentLoaded", () => {
    addThemeSwitch();
    addCopyButtons();
    addFilter();
    addSave();
    openTarget();
  });
  addEventListener("hashchange", openTarget);
  addEventListener("beforeprint", () => { for (const node of all("details")) { node.open = true; } });
})();
