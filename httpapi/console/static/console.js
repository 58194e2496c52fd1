// What pages do beyond HTML: copying, details of the timeline, live updates. All of
// it may be missing; every page works without.
"use strict";

const say = (text) => {
  const region = document.getElementById("announce");
  if (region) region.textContent = text;
};

// Copy buttons: data-copy is the text, data-copy-from the id of an element.
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy], [data-copy-from]");
  if (!button) return;
  const from = button.dataset.copyFrom && document.getElementById(button.dataset.copyFrom);
  const text = from ? from.textContent : button.dataset.copy;
  try {
    await navigator.clipboard.writeText(text);
    say("Copied");
    if (!button.dataset.busy) {
      const old = [...button.childNodes];
      button.dataset.busy = "1";
      button.replaceChildren("Copied");
      setTimeout(() => { button.replaceChildren(...old); delete button.dataset.busy; }, 1200);
    }
  } catch {
    say("Copying is not possible here");
  }
});

// The details of a band of the timeline, on hover and focus.
for (const kind of ["mouseover", "focusin"]) {
  document.addEventListener(kind, (event) => {
    const band = event.target.closest && event.target.closest(".tl [data-detail]");
    if (!band) return;
    const detail = band.closest("figure").querySelector(".tl-detail");
    if (detail) detail.textContent = band.dataset.detail;
  });
}

// Forms that change the address at once when a choice is made.
document.addEventListener("change", (event) => {
  const form = event.target.closest("form[data-auto]");
  if (form && event.target.matches("select, input[type=radio]")) form.requestSubmit();
});

// A form is sent once: a second click waits for the first.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.method !== "post") return;
  if (form.dataset.sent) { event.preventDefault(); return; }
  form.dataset.sent = "1";
});
window.addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
});

// Live updates: when something has changed, the parts with data-live are taken from
// the page as it is now. Forms are never in them, so nothing that was typed is lost.
const source = document.body.dataset.events;
const light = document.querySelector(".live");
let waiting = 0;

const refresh = async (news) => {
  waiting = 0;
  const response = await fetch(location.href, { headers: { "X-Console-Refresh": "1" } });
  if (response.status === 401) { location.reload(); return; }
  if (!response.ok) return;
  const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
  const focused = document.activeElement && document.activeElement.id;
  for (const part of document.querySelectorAll("[data-live]")) {
    const now = fresh.getElementById(part.id);
    if (!now || now.innerHTML === part.innerHTML) continue;
    const open = [...part.querySelectorAll("details")].map((d) => d.open);
    part.replaceChildren(...now.cloneNode(true).childNodes);
    part.querySelectorAll("details").forEach((d, i) => { if (open[i]) d.open = true; });
  }
  if (focused && document.getElementById(focused)) document.getElementById(focused).focus();
  say(news);
};

// Pages of what has no events look again by themselves.
const every = document.querySelector("[data-every]");
if (every) setInterval(() => { if (!document.hidden) refresh(""); }, 1000 * every.dataset.every);

if (source && document.querySelector("[data-live]") && window.EventSource) {
  const events = new EventSource(source);
  const show = (on, text) => {
    if (!light) return;
    light.hidden = false;
    light.toggleAttribute("data-on", on);
    light.textContent = text;
  };
  events.onopen = () => show(true, "Live");
  events.onerror = () => {
    show(false, "Not live: reconnecting");
    if (events.readyState === EventSource.CLOSED) show(false, "Not live: reload the page");
  };
  const words = JSON.parse(document.body.dataset.words || "{}");
  for (const [action, word] of Object.entries(words)) {
    events.addEventListener(action, () => {
      if (waiting) clearTimeout(waiting);
      waiting = setTimeout(() => refresh(word), 300);
    });
  }
  window.addEventListener("pagehide", () => events.close());
}
