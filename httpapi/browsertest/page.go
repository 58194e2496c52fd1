package browsertest

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// Request is a request of a page, its frames or its workers.
type Request struct {
	Method string
	URL    string
	By     string // what caused it: parser, script, preload, other
}

// Page is an open page.
type Page struct {
	b        *Browser
	session  string
	origin   string
	requests []Request // guarded by conn.mu
	loaded   chan struct{}
}

// Open opens a page and returns when its load event has fired.
func (b *Browser) Open(address string) *Page {
	b.t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		b.t.Fatal(err)
	}
	var target struct {
		ID string `json:"targetId"`
	}
	b.call("", "Target.createTarget", map[string]any{"url": "about:blank", "browserContextId": b.context}, &target)
	var attached struct {
		Session string `json:"sessionId"`
	}
	b.call("", "Target.attachToTarget", map[string]any{"targetId": target.ID, "flatten": true}, &attached)
	p := &Page{b: b, session: attached.Session, origin: u.Scheme + "://" + u.Host, loaded: make(chan struct{}, 1)}
	b.conn.mu.Lock()
	b.conn.pages[p.session] = p
	b.conn.mu.Unlock()
	for _, c := range watchCommands {
		b.call(p.session, c.method, c.params, nil)
	}
	b.call(p.session, "Page.enable", nil, nil)
	p.Goto(address)
	return p
}

// Goto opens another address and returns when its load event has fired.
func (p *Page) Goto(address string) {
	p.b.t.Helper()
	p.leave(func() { p.b.call(p.session, "Page.navigate", map[string]any{"url": address}, nil) })
}

// Click clicks the first element of a CSS selector, which leads to another
// document, and returns when that has loaded.
func (p *Page) Click(selector string) {
	p.b.t.Helper()
	p.leave(func() {
		p.Eval(fmt.Sprintf(`(() => { const e = document.querySelector(%q); if (!e) throw new Error("no such element"); e.click(); })()`, selector))
	})
}

// leave runs an action that opens another document, and waits for that document.
func (p *Page) leave(act func()) {
	p.b.t.Helper()
	select {
	case <-p.loaded: // of an earlier document
	default:
	}
	act()
	p.AwaitLoad()
}

// AwaitLoad returns when a document has loaded that the page opens by itself, such as by
// a refresh.
func (p *Page) AwaitLoad() {
	p.b.t.Helper()
	select {
	case <-p.loaded:
	case <-p.b.conn.closed:
		p.b.t.Fatal("the browser has exited")
	case <-time.After(patience):
		p.b.t.Fatalf("the page did not load: %s", p.Eval("location.href"))
	}
}

// Fill writes a text into the field of a CSS selector.
func (p *Page) Fill(selector, text string) {
	p.b.t.Helper()
	p.Eval(fmt.Sprintf(`document.querySelector(%q).value = %q`, selector, text))
}

// View sets the size of the viewport in CSS pixels, of which a scrollbar takes none, and
// the preferred colors.
func (p *Page) View(width, height int, dark bool) {
	p.b.t.Helper()
	p.b.call(p.session, "Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false}, nil)
	p.b.call(p.session, "Emulation.setScrollbarsHidden", map[string]any{"hidden": true}, nil)
	scheme := "light"
	if dark {
		scheme = "dark"
	}
	p.b.call(p.session, "Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}}, nil)
}

// NoScripts keeps the scripts of the documents that are opened next from running.
// Eval works as before.
func (p *Page) NoScripts() {
	p.b.t.Helper()
	p.b.call(p.session, "Emulation.setScriptExecutionDisabled", map[string]any{"value": true}, nil)
}

// Screenshot returns a PNG of the whole document.
func (p *Page) Screenshot() []byte {
	p.b.t.Helper()
	var shot struct {
		Data []byte `json:"data"`
	}
	p.b.call(p.session, "Page.captureScreenshot", map[string]any{"format": "png", "captureBeyondViewport": true}, &shot)
	return shot.Data
}

func (b *Browser) call(session, method string, params, result any) {
	b.t.Helper()
	if err := b.conn.call(session, method, params, result); err != nil {
		b.t.Fatal(err)
	}
}

// watchCommands make a target report its requests, and those of the frames and
// workers that it starts, which wait until they are watched too.
var watchCommands = []struct {
	method string
	params map[string]any
}{
	{"Network.enable", nil},
	{"Target.setAutoAttach", map[string]any{"autoAttach": true, "waitForDebuggerOnStart": true, "flatten": true}},
	{"Runtime.runIfWaitingForDebugger", nil},
}

// handle records an event. The caller holds conn.mu.
func (p *Page) handle(m message) {
	switch m.Method {
	case "Page.loadEventFired":
		select {
		case p.loaded <- struct{}{}:
		default:
		}
	case "Network.requestWillBeSent":
		var e struct {
			Request struct {
				Method string `json:"method"`
				URL    string `json:"url"`
			} `json:"request"`
			Initiator struct {
				Type string `json:"type"`
			} `json:"initiator"`
		}
		if json.Unmarshal(m.Params, &e) == nil {
			p.requests = append(p.requests, Request{e.Request.Method, e.Request.URL, e.Initiator.Type})
		}
	case "Target.attachedToTarget":
		var e struct {
			Session string `json:"sessionId"`
		}
		if json.Unmarshal(m.Params, &e) != nil {
			return
		}
		p.b.conn.pages[e.Session] = p
		for _, c := range watchCommands {
			_, _ = p.b.conn.send(e.Session, c.method, c.params) // a target may be gone again
		}
	}
}

// Foreign returns the requests to other origins than the page's. Data in the URL
// itself is not a request to anybody.
func (p *Page) Foreign() []Request {
	p.b.conn.mu.Lock()
	defer p.b.conn.mu.Unlock()
	var foreign []Request
	for _, r := range p.requests {
		if r.URL != p.origin && !strings.HasPrefix(r.URL, p.origin+"/") && !strings.HasPrefix(r.URL, "data:") && !strings.HasPrefix(r.URL, "blob:") {
			foreign = append(foreign, r)
		}
	}
	return foreign
}

// Eval evaluates a JavaScript expression, waits for it if it is a promise, and
// returns its value as a string.
func (p *Page) Eval(expression string) string {
	p.b.t.Helper()
	var out struct {
		Result struct {
			Value any `json:"value"`
		} `json:"result"`
		Exception *struct {
			Text string `json:"text"`
		} `json:"exceptionDetails"`
	}
	p.b.call(p.session, "Runtime.evaluate", map[string]any{"expression": expression, "awaitPromise": true, "returnByValue": true}, &out)
	if out.Exception != nil {
		p.b.t.Fatalf("%s: %s", expression, out.Exception.Text)
	}
	return fmt.Sprint(out.Result.Value)
}

// WaitFor returns when a JavaScript expression about the document is true. It is
// evaluated again after each change of the document. The test fails with the
// document if that takes too long.
func (p *Page) WaitFor(expression string) {
	p.b.t.Helper()
	done := p.Eval(fmt.Sprintf(`new Promise((resolve) => {
		const end = (done) => { watch.disconnect(); clearTimeout(limit); resolve(done); };
		const look = () => { if (%s) end(true); };
		const watch = new MutationObserver(look);
		const limit = setTimeout(() => end(false), %d);
		watch.observe(document, { childList: true, subtree: true, attributes: true, characterData: true });
		look();
	})`, expression, (patience / 2).Milliseconds()))
	if done != "true" {
		p.b.t.Fatalf("still not true: %s\n%s", expression, p.DOM())
	}
}

// DOM returns the document as HTML.
func (p *Page) DOM() string {
	p.b.t.Helper()
	return p.Eval("document.documentElement.outerHTML")
}
