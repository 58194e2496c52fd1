// What pages do beyond HTML: copying, details of the timeline, live updates. All of
// it may be missing; every page works without.
"use strict";

// What is of no use without scripts is shown now.
document.documentElement.classList.add("js");

// say announces a text, also one that was announced before.
const say = (text) => {
  const region = document.getElementById("announce");
  if (!region) return;
  region.textContent = "";
  setTimeout(() => { region.textContent = text; }, 50);
};

// On a narrow screen the tab of this page is among those that are shown.
const tab = document.querySelector(".tabs [aria-current]");
if (tab) tab.parentElement.scrollLeft = tab.offsetLeft - 16;

// write puts a text into the clipboard. Pages without TLS have only the old way to it.
const write = async (text, focused) => {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = document.createElement("textarea");
  area.className = "sr";
  area.value = text;
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  focused.focus({ preventScroll: true });
  if (!done) throw new Error("refused");
};

// Copy buttons: data-copy is the text, data-copy-from the id of an element, data-said what
// is announced.
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy], [data-copy-from]");
  if (!button) return;
  const from = button.dataset.copyFrom && document.getElementById(button.dataset.copyFrom);
  const text = from ? from.textContent : button.dataset.copy;
  try {
    await write(text, button);
    say(button.dataset.said || (button.getAttribute("aria-label") || "").replace(/^Copy /, "Copied ") || "Copied");
    if (!button.dataset.busy) {
      const old = [...button.childNodes];
      button.dataset.busy = "1";
      button.replaceChildren(button.classList.contains("kid-icon") ? "✓" : "Copied");
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

// A form with data-check asks the server what it thinks of what is entered, once nobody has
// typed for a moment, and shows its answer: the parts with data-checked, and what is wrong
// with each field. The server alone knows the rules; the form is sent as by its button.
const checked = document.querySelector("form[data-check]");
let recheck = () => {}; // after a live refresh
if (checked) {
  let pause = 0;
  let asked = 0;
  let byHand = false; // somebody has typed since the last answer was asked for: that extends the session
  const show = (fresh) => {
    for (const part of checked.querySelectorAll("[data-checked]")) {
      const now = fresh.getElementById(part.id);
      if (!now || part.hasAttribute("data-if-open") && !part.children.length) continue; // a dry run is opened by its button
      part.setAttribute("data-keep", ""); // live updates know what is stored, not what is entered
      bringChildren(part, now, { changes: 0, kept: 0 });
    }
    for (const field of checked.querySelectorAll("input[aria-describedby]")) {
      const now = fresh.getElementById(field.id);
      if (!now) continue;
      for (const name of ["aria-invalid", "aria-describedby"]) {
        if (now.hasAttribute(name)) field.setAttribute(name, now.getAttribute(name)); else field.removeAttribute(name);
      }
      for (const old of field.parentElement.querySelectorAll(".wrong")) old.remove();
      for (const wrong of now.parentElement.querySelectorAll(".wrong")) field.after(wrong.cloneNode(true));
    }
    const verdict = checked.querySelector("#verdict");
    if (verdict && verdict.textContent.trim() !== checked.dataset.said) say(checked.dataset.said = verdict.textContent.trim());
  };
  const ask = async () => {
    const turn = ++asked;
    const headers = byHand ? {} : { "X-Console-Refresh": "1" };
    byHand = false;
    const body = new URLSearchParams(new FormData(checked));
    body.set("do", "check");
    try {
      const response = await fetch(checked.action, { method: "POST", body, headers, redirect: "error" });
      const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
      if (turn === asked && fresh.getElementById("verdict")) show(fresh); // else something else was entered, or the session is over
    } catch {} // the button asks too, and says what is wrong
  };
  const askSoon = () => { clearTimeout(pause); pause = setTimeout(ask, 350); };
  checked.addEventListener("input", () => { byHand = true; askSoon(); });
  recheck = () => { if ([...checked.elements].some((field) => fields.includes(field.nodeName) && isTouched(field))) askSoon(); };
}

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

// Live updates: when something has changed, the parts with data-live are brought to what
// the page shows now. Elements that stay are kept, and so are focus, scroll positions, open
// details and whatever was entered. Rows are told apart by data-row or id.
const source = document.body.dataset.events;
const light = document.querySelector(".live");
const fields = "INPUT SELECT TEXTAREA";

// nameOf asks for attributes, since a form's property is its field of that name.
const nameOf = (node) => node.getAttribute ? node.getAttribute("data-row") || node.getAttribute("id") || "" : "";

// isTouched says whether somebody has entered something, or is about to.
const isTouched = (field) => {
  if (field.type === "hidden") return false;
  if (field === document.activeElement && !/^(checkbox|radio|button|submit)$/.test(field.type)) return true;
  if (field.nodeName === "SELECT") {
    const chosen = [...field.options].some((o) => o.defaultSelected);
    return [...field.options].some((o, i) => o.selected !== (chosen ? o.defaultSelected : i === 0));
  }
  if (/^(checkbox|radio)$/.test(field.type)) return field.checked !== field.defaultChecked;
  return field.value !== field.defaultValue;
};

// bring makes an element what it is now. In seen it counts the changes that are news, and
// those of fields that keep what was entered.
const bring = (old, now, seen) => {
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.data !== now.data) {
      if (!old.parentElement.closest("time")) seen.changes++;
      old.data = now.data;
    }
    return;
  }
  if (old.hasAttribute("data-keep") || old.dataset.busy || old.isEqualNode(now)) return;
  if (fields.includes(old.nodeName)) {
    if (isTouched(old)) { seen.kept++; return; }
    if (old.type !== "hidden") seen.changes++;
  }
  for (const { name } of [...old.attributes]) if (!now.hasAttribute(name) && name !== "open" && name !== "data-sent") old.removeAttribute(name);
  for (const { name, value } of [...now.attributes]) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  if (old.nodeName === "INPUT" && old.type !== "hidden") { old.value = now.defaultValue; old.checked = now.defaultChecked; }
  bringChildren(old, now, seen);
};

const bringChildren = (old, now, seen) => {
  const named = new Map([...old.children].filter(nameOf).map((child) => [nameOf(child), child]));
  let place = old.firstChild;
  for (const child of [...now.childNodes]) {
    const name = nameOf(child);
    let same = name ? named.get(name) : place;
    if (!same || same.nodeName !== child.nodeName || nameOf(same) !== name) {
      old.insertBefore(child.cloneNode(true), place);
      if (child.textContent.trim()) seen.changes++;
      continue;
    }
    if (same === place) place = place.nextSibling; else old.insertBefore(same, place);
    bring(same, child, seen);
  }
  while (place) {
    const next = place.nextSibling;
    if (place.textContent.trim()) seen.changes++;
    place.remove();
    place = next;
  }
};

const refresh = async (news) => {
  const response = await fetch(location.href, { headers: { "X-Console-Refresh": "1" } });
  if (response.status === 401) { location.reload(); return; }
  if (!response.ok) return;
  const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
  const focused = document.activeElement;
  const seen = { changes: 0, kept: 0 };
  for (const part of document.querySelectorAll("[data-live]")) {
    const now = fresh.getElementById(part.id);
    if (!now) continue;
    if (now.dataset.every) part.dataset.every = now.dataset.every; else delete part.dataset.every;
    bringChildren(part, now, seen);
  }
  if (focused !== document.activeElement && focused.isConnected) focused.focus({ preventScroll: true });
  recheck();
  document.getElementById("kept").hidden = !seen.kept;
  if (news && seen.changes + seen.kept) say(news + (seen.kept ? ". What you entered is kept." : ""));
};

// Changes that come close together are shown at once, every two seconds at most.
let timer = 0;
let latest = 0;
const news = new Set();
const refreshSoon = (word) => {
  if (word) news.add(word);
  if (timer) return;
  timer = setTimeout(() => {
    const words = [...news].join(", ");
    timer = 0; // what changes from now on is not in the answer
    latest = Date.now();
    news.clear();
    refresh(words).catch(() => {}); // the next change shows it too, or the stream when it is back
  }, Math.max(300, latest + 2000 - Date.now()));
};

// Pages of what has no events look again by themselves.
let looked = Date.now();
setInterval(() => {
  const every = document.querySelector("[data-every]"); // seconds; a refresh may take it away
  if (!every || document.hidden || Date.now() - Math.max(looked, latest) < 1000 * every.dataset.every) return;
  looked = Date.now();
  refreshSoon("");
}, 1000);

if (source && document.querySelector("[data-live]") && window.EventSource) {
  const events = new EventSource(source);
  const show = (on, text) => {
    if (!light) return;
    light.hidden = false;
    light.toggleAttribute("data-on", on);
    light.textContent = text;
  };
  let lost = false;
  events.onopen = () => {
    show(true, "Updates by itself");
    if (lost) refreshSoon("Live again");
    lost = false;
  };
  events.onerror = () => {
    lost = true;
    show(false, events.readyState === EventSource.CLOSED ? "Not live: reload the page" : "Not live: reconnecting");
  };
  const words = JSON.parse(document.body.dataset.words || "{}");
  for (const [action, word] of Object.entries(words)) events.addEventListener(action, () => refreshSoon(word));
  window.addEventListener("pagehide", () => events.close());
}
