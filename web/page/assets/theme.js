// Sets the theme before anything is drawn, so that nothing flashes: what was chosen
// here, or what the system prefers. It is no module, since modules run later.
(() => {
  const key = "edgebroker-theme";
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const root = document.documentElement;
  const chosen = () => {
    try {
      const v = localStorage.getItem(key);
      return v === "light" || v === "dark" ? v : "auto";
    } catch {
      return "auto"; // storage is switched off
    }
  };
  const apply = (choice) => {
    root.dataset.themeChoice = choice;
    root.dataset.theme = choice === "auto" ? (dark.matches ? "dark" : "light") : choice;
    dispatchEvent(new Event("themechange"));
  };
  addEventListener("themechoice", (e) => {
    try {
      localStorage.setItem(key, e.detail);
    } catch {
      // it holds until the page is closed
    }
    apply(e.detail);
  });
  addEventListener("storage", (e) => {
    if (e.key === key) apply(chosen());
  });
  dark.addEventListener("change", () => apply(root.dataset.themeChoice));
  apply(chosen());
})();
