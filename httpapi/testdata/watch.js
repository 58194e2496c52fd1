"use strict";

// Notes on the root element what the page must not do; runs before all else.
const note = (what) => { document.documentElement.dataset.wrong = (document.documentElement.dataset.wrong || "") + what + "; "; };
addEventListener("securitypolicyviolation", (e) => note(`${e.effectiveDirective} forbids ${e.blockedURI}`));
addEventListener("error", (e) => note(`error ${e.message || e.target.src || e.target.href}`), true);
addEventListener("unhandledrejection", (e) => note(`rejected ${e.reason}`));
