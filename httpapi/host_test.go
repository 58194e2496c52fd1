package httpapi

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

func TestDomainOf(t *testing.T) {
	for host, want := range map[string]string{
		"id.acme.example": "id.acme.example", "ID.Acme.Example": "id.acme.example", "id.acme.example:8443": "id.acme.example",
		"id.acme.example.": "id.acme.example", "id.acme.example.:443": "id.acme.example", "id.acme.example:": "id.acme.example",
		"xn--bcher-kva.example": "xn--bcher-kva.example", "localhost:1": "localhost",
		"": "", ".": "", "id.acme.example..": "", "a..b": "", ".id.acme.example": "", "*.acme.example": "", "bücher.example": "",
		"127.0.0.1:80": "", "[::1]:80": "", "[::1]": "", "::1": "", "a:b": "", "a:80:80": "", "id.acme.example/x": "", "u@id.acme.example": "",
		"\u212Aeys.example": "", "\uff4beys.example": "", "id.acme.example\x00": "", "id%2eacme.example": "", "-a.example": "", strings.Repeat("a.", 127) + "a": "",
		strings.Repeat("a", 64): "", strings.Repeat("a.", 127) + "aa": "",
	} {
		if got := domainOf(host); got != want {
			t.Errorf("%q is %q, want %q", host, got, want)
		}
	}
}

// raw sends bytes as they are and returns the status and the body.
func (w *world) raw(request string) (int, string) {
	w.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(w.url, "http://"))
	if err != nil {
		w.t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, request); err != nil {
		w.t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestCustomDomain(t *testing.T) {
	w := newWorld(t)
	w.tenant("acme")
	platform := string(w.do("GET", "/.well-known/jwks.json", "", "").ok(200).body)
	acme := string(w.do("GET", "/t/acme/.well-known/jwks.json", "", "").ok(200).body)
	get := func(host string) string {
		t.Helper()
		code, body := w.raw("GET /.well-known/jwks.json HTTP/1.1\r\nConnection: close\r\nHost: " + host + "\r\n\r\n")
		if code != 200 {
			t.Fatalf("%q: %d %s", host, code, body)
		}
		return body
	}
	if get("id.acme.example") != platform {
		t.Error("a domain that is nobody's")
	}
	w.do("PATCH", "/v1/tenants/acme", w.root, `{"custom_domain":"ID.acme.example"}`).ok(200)
	for _, host := range []string{"id.acme.example", "ID.ACME.EXAMPLE", "id.acme.example:8443", "id.acme.example.", "id.acme.example.:1"} {
		if get(host) != acme {
			t.Errorf("%s is not answered for its tenant", host)
		}
	}
	for _, host := range []string{
		"acme.example", "x.id.acme.example", "id.acme.example.evil.example", "evilid.acme.example", "id.acme.exampl", "id.acme.example..",
		"keys.example.com", "keys.example.com:443", "127.0.0.1", "[::1]:80", "xn--id-xyz.acme.example",
	} {
		if get(host) != platform {
			t.Errorf("%s is not answered for the platform", host)
		}
	}
	for request, want := range map[string]string{
		"GET http://id.acme.example/.well-known/jwks.json HTTP/1.1\r\nHost: other.example\r\nConnection: close\r\n\r\n":                acme,
		"GET http://other.example/.well-known/jwks.json HTTP/1.1\r\nHost: id.acme.example\r\nConnection: close\r\n\r\n":                platform,
		"GET /.well-known/jwks.json HTTP/1.0\r\n\r\n":                                                                                  platform,
		"GET /.well-known/jwks.json HTTP/1.1\r\nHost: other.example\r\nX-Forwarded-Host: id.acme.example\r\nConnection: close\r\n\r\n": platform,
		"GET /.well-known/jwks.json HTTP/1.1\r\nHost: other.example\r\nForwarded: host=id.acme.example\r\nConnection: close\r\n\r\n":   platform,
		"GET /.well-known/openid-configuration HTTP/1.1\r\nHost: id.acme.example\r\nConnection: close\r\n\r\n":                         "/t/acme",
		"GET /.well-known/oauth-authorization-server HTTP/1.1\r\nHost: id.acme.example\r\nConnection: close\r\n\r\n":                   "/t/acme",
		"GET /.well-known/openid-configuration HTTP/1.1\r\nHost: keys.example.com\r\nConnection: close\r\n\r\n":                        "/t/platform",
		"GET /t/platform/.well-known/jwks.json HTTP/1.1\r\nHost: id.acme.example\r\nConnection: close\r\n\r\n":                         platform,
	} {
		if code, body := w.raw(request); code != 200 || body != want && (want == acme || want == platform || !strings.Contains(body, `"issuer":"`+testPublicURL+want+`"`)) {
			t.Errorf("%q: %d %s", request, code, body)
		}
	}
	for _, request := range []string{
		"GET /.well-known/jwks.json HTTP/1.1\r\nConnection: close\r\n\r\n",
		"GET /.well-known/jwks.json HTTP/1.1\r\nHost: id.acme.example\r\nHost: id.acme.example\r\nConnection: close\r\n\r\n",
	} {
		if code, body := w.raw(request); code != 400 {
			t.Errorf("%q: %d %s", request, code, body)
		}
	}
	if code, body := w.raw("GET /t//.well-known/jwks.json HTTP/1.1\r\nHost: id.acme.example\r\nConnection: close\r\n\r\n"); code != 404 {
		t.Errorf("%d %s", code, body)
	}
	w.do("PATCH", "/v1/tenants/acme", w.root, `{"status":"suspended"}`).ok(200)
	if get("id.acme.example") != acme {
		t.Error("a suspended tenant's tokens must verify")
	}
	w.tenant("other")
	w.do("PATCH", "/v1/tenants/other", w.root, `{"custom_domain":"id.acme.example"}`).problem(ProblemCodeConflict)
	w.do("DELETE", "/v1/tenants/acme", w.root, "").ok(204)
	if get("id.acme.example") != platform {
		t.Error("a deleted tenant's domain")
	}
	w.do("PATCH", "/v1/tenants/other", w.root, `{"custom_domain":"id.acme.example"}`).ok(200)
	if get("id.acme.example") == platform {
		t.Error("the domain has a new tenant")
	}
	w.do("PATCH", "/v1/tenants/other", w.root, `{"custom_domain":null}`).ok(200)
	if get("id.acme.example") != platform {
		t.Error("the domain was given up")
	}
}

func TestThePublicURLsHostIsNobodys(t *testing.T) {
	w := newWorld(t)
	w.tenant("acme")
	for _, domain := range []string{"keys.example.com", "KEYS.example.com"} {
		body := fmt.Sprintf(`{"slug":"thief","custom_domain":%q}`, domain)
		if p := w.do("POST", "/v1/tenants", w.root, body).problem(ProblemCodeInvalidRequest); p.Errors[0].Field != "custom_domain" {
			t.Errorf("%+v", p)
		}
		w.do("PATCH", "/v1/tenants/acme", w.root, fmt.Sprintf(`{"custom_domain":%q}`, domain)).problem(ProblemCodeInvalidRequest)
	}
}

// Whose issuer is on its own domain, its keys are there too; else they are where
// they always are.
func TestWhereDiscoveryFindsTheKeys(t *testing.T) {
	w := newWorld(t)
	for settings, want := range map[string]string{
		`"issuer":"https://id.a.example","custom_domain":"id.a.example"`:              "https://id.a.example/.well-known/jwks.json",
		`"issuer":"https://id.b.example:8443/x/","custom_domain":"id.b.example"`:      "https://id.b.example:8443/.well-known/jwks.json",
		`"issuer":"https://other.example","custom_domain":"id.c.example"`:             testPublicURL + "/t/tenant/.well-known/jwks.json",
		`"issuer":"https://id.d.example"`:                                             testPublicURL + "/t/tenant/.well-known/jwks.json",
		`"custom_domain":"id.e.example"`:                                              testPublicURL + "/t/tenant/.well-known/jwks.json",
		`"issuer":"https://id.f.example.evil.example","custom_domain":"id.f.example"`: testPublicURL + "/t/tenant/.well-known/jwks.json",
	} {
		w.do("POST", "/v1/tenants", w.root, `{"slug":"tenant",`+settings+`}`).ok(201)
		var d Discovery
		if w.do("GET", "/t/tenant/.well-known/openid-configuration", "", "").ok(200, &d); d.JWKSURI != want {
			t.Errorf("%s: %s", settings, d.JWKSURI)
		}
		w.do("DELETE", "/v1/tenants/tenant", w.root, "").ok(204)
	}
}
