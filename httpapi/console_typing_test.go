package httpapi

import (
	"fmt"
	"strings"
	"testing"

	"github.com/keyward/keyward/httpapi/browsertest"
)

// typed enters a text as somebody does who types.
func typed(p *browsertest.Page, selector, text string) {
	p.Fill(selector, text)
	p.Eval(fmt.Sprintf(`document.querySelector(%q).dispatchEvent(new Event("input", { bubbles: true }))`, selector))
}

// While somebody types, the form says what the server thinks of it: which promise breaks, which
// field is wrong, whether it would be accepted. It asks by a dry run, so that nothing changes.
func TestConsolePolicyIsCheckedWhileTyping(t *testing.T) {
	w := newWorld(t)
	b := browsertest.New(t)
	w.tenant("acme")
	p := w.browse(b, w.root)
	p.Goto(w.url + "/console/tenants/acme/policies/ES256")
	p.Eval(`window.asked = [], window.fetch = ((real) => (url, o) => { if (o.method === "POST") window.asked.push("X-Console-Refresh" in (o.headers || {})); return real(url, o); })(window.fetch)`)
	before := w.state()
	p.WaitFor(`document.getElementById("verdict").textContent.includes("All of them hold")`)
	p.Eval(`document.getElementById("grace_period_seconds").focus()`)
	typed(p, "#grace_period_seconds", "1h")
	p.WaitFor(`document.getElementById("verdict").textContent.includes("Not accepted") && document.querySelectorAll(".checks li.fails").length === 1`)
	if got := p.Eval(`[document.querySelector(".checks li.fails strong").textContent, document.getElementById("grace_period_seconds").getAttribute("aria-invalid"), document.getElementById("grace_period_seconds").value,
		document.activeElement.id, !!document.getElementById("grace_period_seconds-wrong"), document.querySelector("#checked-preview").children.length].join(" ")`); got != "Grace period ≥ longest token + skew true 1h grace_period_seconds true 0" {
		t.Errorf("a grace period that is too short: %s", got)
	}
	p.WaitFor(`document.getElementById("announce").textContent.includes("Grace period")`)
	checkAccessible(t, p, "a policy with a fault")
	shoot(t, p, "policy-typing")
	typed(p, "#grace_period_seconds", "a while")
	p.WaitFor(`document.getElementById("grace_period_seconds-wrong").textContent.includes("write a duration")`)
	typed(p, "#grace_period_seconds", "8d")
	p.WaitFor(`document.getElementById("verdict").textContent.includes("Accepted") && !document.querySelector(".checks li.fails") && !document.querySelector(".wrong")`)

	if w.state() != before {
		t.Error("a check has changed something")
	}

	// A change by somebody else does not take the answer away, and the form can be sent.
	w.do("PUT", "/v1/tenants/acme/policies/ES256", w.root, `{"default":true,"purge_after_seconds":86400}`).ok(200)
	p.WaitFor(`document.getElementById("purge_after_seconds").value === "1d"`)
	p.WaitFor(`window.asked.at(-1) === true`) // a live refresh extends no session
	if got := p.Eval(`window.asked.slice(0, -1).join()`); strings.Contains(got, "true") || !strings.Contains(got, "false") {
		t.Errorf("while typing, checks were sent as refreshes: %s", got)
	}
	if got := p.Eval(`document.getElementById("verdict").textContent + document.getElementById("grace_period_seconds").value`); got != "✓ Accepted: it can be saved.8d" {
		t.Errorf("after a change by somebody else: %s", got)
	}
	before = w.state()
	p.Click(`#live-policy button[value=check].btn-main`)
	if w.state() != before {
		t.Error("a check has changed something")
	}

	// An open dry run follows what is typed, until it is saved.
	typed(p, "#max_token_ttl_seconds", "2h")
	p.WaitFor(`document.querySelector(".checks").textContent.includes("2 hours longest token")`)
	p.Click(`#checked-preview button[value=save]`)
	var list PolicyList
	w.do("GET", "/v1/tenants/acme/policies", w.root, "").ok(200, &list)
	if got := list.Items[0]; got.GracePeriodSeconds != 691200 || got.MaxTokenTTLSeconds != 7200 {
		t.Errorf("saved: %+v", got)
	}
	p.Goto("about:blank")
}

// Wherever a kid is shown, it is copied as a whole by a click on a button that the keyboard
// reaches, and that is announced. Without scripts there is no button that does nothing beside it.
func TestConsoleCopiesKids(t *testing.T) {
	w := newWorld(t)
	b := browsertest.New(t)
	pages := w.everyPage()
	kid := w.keys("acme", KeyStateActive)[0].KID
	p := w.browse(b, w.root)
	short := kid[:8] + "…" + kid[len(kid)-4:]
	shown := 0
	for _, path := range pages {
		p.Goto(w.url + path)
		// Every element that is a short kid, and its button.
		if lost := p.Eval(`[...document.querySelectorAll("main .kid, main .kid-copy")].filter((e) => {
			const button = e.closest("button[data-copy]") || e.parentElement.querySelector("button[data-copy]");
			return !button || button.tabIndex < 0 || button.getBoundingClientRect().width < 5 && !e.closest("details") || !button.dataset.copy.startsWith(e.firstChild.textContent.split("…")[0].trim());
		}).map((e) => e.outerHTML).join()`); lost != "" {
			t.Errorf("%s: a kid without a button: %s", path, lost)
		}
		if stray := p.Eval(fmt.Sprintf(`(() => {
			const walk = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT), stray = [];
			while (walk.nextNode()) {
				const e = walk.currentNode.parentElement;
				if (walk.currentNode.data.includes(%q) && !e.closest(".kid, .kid-copy, .kid-pair, .sr, title, svg, .btn, .tl-detail, .note-box")) stray.push(e.outerHTML);
			}
			return stray.join();
		})()`, short)); stray != "" {
			t.Errorf("%s: a kid that cannot be copied: %s", path, stray)
		}
		if p.Eval(`document.querySelectorAll("main button[data-copy='`+kid+`']").length > 0`) == "true" {
			shown++
			p.Eval(`navigator.clipboard.writeText = (text) => { window.copied = text; return Promise.resolve(); }, window.copied = "", document.getElementById("announce").textContent = "",
				document.querySelector("main button[data-copy='` + kid + `']").focus(), document.activeElement.click()`)
			p.WaitFor(`document.getElementById("announce").textContent === "Copied the name of key ` + short + `"`)
			if got := p.Eval(`window.copied + (document.activeElement.dataset.copy === window.copied)`); got != kid+"true" {
				t.Errorf("%s: copied %s", path, got)
			}
		}
	}
	if shown < 8 {
		t.Errorf("only %d pages have the active key", shown)
	}
	p.Goto(w.url + "/console/tenants/acme/keys") // where the clipboard is out of reach, the old way is tried
	p.Eval(`Object.defineProperty(navigator, "clipboard", { value: undefined }), document.execCommand = () => { window.copied = document.activeElement.value; return true; }, document.querySelector("main .kid-icon").focus(), document.activeElement.click()`)
	p.WaitFor(`document.getElementById("announce").textContent.startsWith("Copied the name of key")`)
	if got := p.Eval(`[window.copied === document.activeElement.dataset.copy, document.querySelectorAll("textarea.sr").length].join(" ")`); got != "true 0" {
		t.Errorf("without a clipboard: %s", got)
	}
	p.NoScripts()
	p.Goto(w.url + "/console/tenants/acme/keys")
	if got := p.Eval(`[...document.querySelectorAll(".kid-icon")].filter((e) => e.offsetWidth > 0).length`); got != "0" {
		t.Errorf("%s buttons that do nothing without scripts", got)
	}
	p.Goto("about:blank")
}
