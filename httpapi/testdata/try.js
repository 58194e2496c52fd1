"use strict";

// Enters an API key as a reader of the page would, and tries an operation with it.
const shown = (selector) => new Promise((found) => {
  const look = () => { const e = document.querySelector(selector); if (e) { watch.disconnect(); found(e); } };
  const watch = new MutationObserver(look);
  watch.observe(document, { childList: true, subtree: true, attributes: true });
  look();
});

const type = (input, text) => {
  Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value").set.call(input, text);
  input.dispatchEvent(new Event("input", { bubbles: true }));
};

(async (key) => {
  (await shown(".btn.authorize")).click();
  type(await shown(".auth-container input"), key);
  (await shown(".auth-btn-wrapper .authorize")).click();
  await shown(".auth-btn-wrapper .btn-done");
  (await shown(".auth-btn-wrapper .btn-done")).click();
  (await shown("#operations-tenants-listTenants .opblock-summary-control")).click();
  (await shown("#operations-tenants-listTenants .try-out__btn")).click();
  (await shown("#operations-tenants-listTenants .execute")).click();
  await shown("#operations-tenants-listTenants .live-responses-table .response-col_status");
  document.documentElement.dataset.tried = "done";
})(document.currentScript.dataset.key);
