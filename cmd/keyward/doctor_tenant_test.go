package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/keyward/keyward/client"
)

const goodKey = `"kty":"EC","crv":"P-256","use":"sig","alg":"ES256","x":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","y":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"`

// worst returns the most severe verdict and the text of all findings.
func worst(findings []finding) (v verdict, told string) {
	v = fine
	for _, f := range findings {
		if f.Verdict == failure || f.Verdict == warning && v == fine {
			v = f.Verdict
		}
		told += f.Check + ": " + f.Text + "\n"
	}
	return v, told
}

func TestSetsAsVerifiersSeeThem(t *testing.T) {
	set := func(keys ...string) string { return `{"keys":[` + strings.Join(keys, ",") + `]}` }
	one := `{"kid":"a",` + goodKey + `}`
	large := func(kid, alg string) string {
		return fmt.Sprintf(`{"kid":%q,"kty":"RSA","use":"sig","alg":%q,"e":"AQAB","n":"%sw"}`, kid, alg, strings.Repeat("z", 341))
	}
	for name, c := range map[string]struct {
		body string
		want verdict
		says string
	}{
		"good":           {set(one), fine, "1 key"},
		"HTML":           {"<html>", failure, "jwks_uri"},
		"an array":       {"[]", failure, "keys"},
		"no keys":        {set(), failure, "no keys"},
		"too long":       {set(one, `{"kid":"b","pad":"`+strings.Repeat("x", 51_200)+`",`+goodKey+`}`), failure, "51200"},
		"no kid":         {set(`{` + goodKey + `}`), failure, "number 1 has none"},
		"a kid twice":    {set(one, one), failure, "twice"},
		"two algorithms": {set(large("a", "RS256"), large("a", "RS512")), fine, "2 keys"},
		"same algorithm": {set(large("a", "RS256"), large("a", "RS512"), large("a", "RS256")), failure, "twice"},
		"private":        {set(`{"kid":"a","d":"AA",` + goodKey + `}`), failure, "revoke it as compromised"},
		"for encryption": {set(`{"kid":"a",` + strings.Replace(goodKey, `"sig"`, `"enc"`, 1) + `}`), warning, "use"},
		"no alg":         {set(`{"kid":"a",` + strings.Replace(goodKey, `"alg":"ES256",`, ``, 1) + `}`), warning, "guess"},
		"short x":        {set(`{"kid":"a",` + strings.Replace(goodKey, `"x":"AAAA`, `"x":"`, 1) + `}`), failure, "not a valid EC key"},
		"short RSA":      {set(`{"kid":"a","kty":"RSA","use":"sig","alg":"RS256","e":"AQAB","n":"` + strings.Repeat("A", 171) + `"}`), failure, "1024 bits"},
		"a new type":     {set(one, `{"kid":"b","kty":"XYZ","use":"sig","alg":"X","pub":"AA"}`), warning, "XYZ"},
		"ML-DSA":         {set(one, `{"kid":"b","kty":"AKP","use":"sig","alg":"ML-DSA-44","pub":"`+strings.Repeat("A", 1750)+`"}`), warning, "2420 bytes"},
		"short ML-DSA":   {set(one, `{"kid":"b","kty":"AKP","use":"sig","alg":"ML-DSA-65","pub":"`+strings.Repeat("A", 1750)+`"}`), failure, "not a valid AKP key"},
		"unknown AKP":    {set(one, `{"kid":"b","kty":"AKP","use":"sig","alg":"SLH-DSA-SHA2-128s","pub":"AA"}`), warning, "AKP"},
		"Ed25519":        {set(`{"kid":"a","kty":"OKP","crv":"Ed25519","use":"sig","alg":"Ed25519","x":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}`), warning, "EdDSA only"},
	} {
		_, findings := examineSet([]byte(c.body))
		if v, told := worst(findings); v != c.want || !strings.Contains(told, c.says) {
			t.Errorf("%s: %s, want %s that says %q:\n%s", name, v, c.want, c.says, told)
		}
	}
}

func TestAnswersAsVerifiersSeeThem(t *testing.T) {
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	good := func() fetchedPage {
		return fetchedPage{url: "http://127.0.0.1:1/x", status: 200, at: now, took: time.Millisecond, header: http.Header{
			"Content-Type": {"application/json"}, "Cache-Control": {"public, max-age=300, stale-while-revalidate=60"},
			"Access-Control-Allow-Origin": {"*"}, "Date": {now.Format(http.TimeFormat)},
		}}
	}
	for name, c := range map[string]struct {
		spoil func(*fetchedPage)
		want  verdict
		says  string
	}{
		"good":            {func(*fetchedPage) {}, fine, "max-age=300"},
		"HTML":            {func(p *fetchedPage) { p.header.Set("Content-Type", "text/html; charset=utf-8") }, failure, "text/html"},
		"no-cache":        {func(p *fetchedPage) { p.header.Set("Cache-Control", "no-cache") }, warning, "every second"},
		"max-age zero":    {func(p *fetchedPage) { p.header.Set("Cache-Control", "max-age=0") }, warning, "every second"},
		"no max-age":      {func(p *fetchedPage) { p.header.Del("Cache-Control") }, warning, "no max-age"},
		"max-age a week":  {func(p *fetchedPage) { p.header.Set("Cache-Control", "max-age=604800") }, warning, "604800"},
		"no CORS":         {func(p *fetchedPage) { p.header.Del("Access-Control-Allow-Origin") }, warning, "scripts"},
		"another time":    {func(p *fetchedPage) { p.at = now.Add(2 * time.Minute) }, warning, "NTP"},
		"http elsewhere":  {func(p *fetchedPage) { p.url = "http://keys.example.com/x" }, failure, "not https"},
		"old certificate": {func(p *fetchedPage) { p.ends = now.Add(24 * time.Hour) }, warning, "2026-11-25"},
		"slow":            {func(p *fetchedPage) { p.took = 3 * time.Second }, warning, "jose gives up"},
	} {
		p := good()
		c.spoil(&p)
		if v, told := worst(examineAnswer(p)); v != c.want || !strings.Contains(told, c.says) {
			t.Errorf("%s: %s, want %s that says %q:\n%s", name, v, c.want, c.says, told)
		}
	}
}

// A running Keyward passes; a proxy in front of it may cause failures.
func TestDoctorOfATenant(t *testing.T) {
	env := deployed(t)
	r := launch(t, env, "serve", "--addr", "127.0.0.1:0", "--migrate")
	url := r.until(t, `msg=serving url=(\S+)`)[1]
	ask := func(public, slug string) result {
		return keyward(t, environ{"KEYWARD_PUBLIC_URL": public}, "doctor", "--tenant", slug)
	}
	ask(url, "platform").want(t, 0, "OK    JWK Set", "/.well-known/oauth-authorization-server/t/platform", "If-None-Match is answered with 304", "WARN  algorithms")
	admin := environ{"KEYWARD_URL": url, "KEYWARD_API_KEY": strings.TrimSpace(keyward(t, env, "api-key", "create", "--role=platform_admin").stdout)}
	keyward(t, admin, "tenant", "create", "acme", `--metadata={"token_endpoint":"https://login.acme.example/token","token_endpoint_auth_methods_supported":["private_key_jwt"]}`).want(t, 0)
	ask(url, "acme").want(t, 0, "OK    discovery", "OK    JWK Set", "/.well-known/oauth-authorization-server/t/acme")
	ask(url, "nobody-here").want(t, 1, "FAIL  tenant")
	ask("http://127.0.0.1:1", "platform").want(t, 1, "FAIL  public URL")
	keyward(t, environ{}, "doctor", "--tenant", "a", "--all").want(t, 2)

	redirecting := httptest.NewServer(http.RedirectHandler(url, http.StatusFound))
	defer redirecting.Close()
	ask(redirecting.URL, "platform").want(t, 1, "do not follow")
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"issuer":"https://other.example","jwks_uri":"https://other.example/jwks"}`))
	}))
	defer elsewhere.Close()
	ask(elsewhere.URL, "platform").want(t, 1, "FAIL")
}

// The finding names who lacks a standby key, and how many more there are.
func TestDoctorNamesStragglers(t *testing.T) {
	k := client.Key{KID: "next", Alg: "ES256"}
	if f := examineAdoption(k, client.KeyAdoption{Fetchers: 7, Adopted: 7}); f.Verdict != fine {
		t.Errorf("%+v", f)
	}
	a := client.KeyAdoption{Fetchers: 100, Adopted: 70}
	for i := range 30 {
		a.Stragglers = append(a.Stragglers, client.Straggler{Client: fmt.Sprintf("%016x", i), LastSeen: time.Unix(1000, 0).UTC()})
	}
	f := examineAdoption(k, a)
	if f.Verdict != warning || !strings.Contains(f.Text, "next") || !strings.Contains(f.Text, fmt.Sprintf("%016x", 19)) ||
		strings.Contains(f.Text, fmt.Sprintf("%016x", 20)) || !strings.Contains(f.Text, "and 10 more") {
		t.Errorf("%+v", f)
	}
}
