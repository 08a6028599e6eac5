// Light and dark: as the system says, until the reader says otherwise.
"use strict";

const THEMES = ["auto", "light", "dark"];
const systemIsDark = matchMedia("(prefers-color-scheme: dark)");

/** What the reader chose last. A page opened from disk may have no storage. */
function chosenTheme() {
  try {
    const theme = localStorage.getItem("quorate-theme");
    return THEMES.includes(theme) ? theme : "auto";
  } catch {
    return "auto";
  }
}

function applyTheme(choice) {
  const dark = choice === "dark" || (choice === "auto" && systemIsDark.matches);
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  try {
    localStorage.setItem("quorate-theme", choice);
  } catch {
    // Then it lasts as long as the page.
  }
}

/** The switch. */
function themeSwitch() {
  let choice = chosenTheme();
  const show = () => {
    button.textContent = { auto: "◐ Auto", light: "○ Light", dark: "● Dark" }[choice];
    button.setAttribute("aria-label", `Colours: ${choice}. Change them.`);
  };
  const button = html("button", {
    type: "button",
    id: "theme",
    onclick: () => {
      choice = THEMES[(THEMES.indexOf(choice) + 1) % THEMES.length];
      applyTheme(choice);
      show();
    },
  });
  show();
  systemIsDark.addEventListener("change", () => applyTheme(choice));
  return button;
}

applyTheme(chosenTheme());
