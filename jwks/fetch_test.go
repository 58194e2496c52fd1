package jwks_test

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyward/keyward/jwks"
	"github.com/keyward/keyward/jwks/jwkstest"
)

// world has several hosts, without a network, and remembers what they were asked.
type world struct {
	hosts map[string]http.HandlerFunc
	asked []*http.Request
}

func (w *world) RoundTrip(r *http.Request) (*http.Response, error) {
	w.asked = append(w.asked, r)
	answer := httptest.NewRecorder()
	if h := w.hosts[r.URL.Host]; h != nil {
		h(answer, r)
	} else {
		http.NotFound(answer, r)
	}
	response := answer.Result()
	response.Request = r
	return response, r.Context().Err()
}

func (w *world) client(t *testing.T, config jwks.Config) *jwks.Client {
	t.Helper()
	config.HTTPClient = &http.Client{Transport: w}
	client, err := jwks.New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

func (w *world) last() *http.Request { return w.asked[len(w.asked)-1] }

// A cache on the way must not answer a fetch that has a reason.
func TestForcedFetchesBypassCaches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issuer := jwkstest.New(issuerURL)
		w := &world{hosts: map[string]http.HandlerFunc{"issuer.example": issuer.ServeHTTP}}
		client := w.client(t, jwks.Config{URL: issuer.JWKSURL(), Header: http.Header{"Cache-Control": {"max-stale"}}})
		asksCaches := func(want string) {
			t.Helper()
			if got := w.last().Header.Get("Cache-Control"); got != want {
				t.Errorf("asked with Cache-Control %q, want %q", got, want)
			}
		}
		wants(t, client, "1", nil)
		asksCaches("max-stale")
		wants(t, client, "2", jwks.ErrSigningKeyNotFound)
		asksCaches("no-cache")
		if w.last().Header.Get("If-None-Match") == "" {
			t.Error("without the ETag")
		}
		time.Sleep(10 * time.Minute)
		wants(t, client, "1", nil)
		asksCaches("max-stale")
		if err := client.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		asksCaches("no-cache")
	})
}

// What ended a flight under way cannot be what Refresh was called for, and a fetch
// that a cache may answer is not enough either.
func TestRefreshIsForcedWhateverIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issuer := jwkstest.New(issuerURL)
		w := &world{hosts: map[string]http.HandlerFunc{"issuer.example": func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(time.Second)
			issuer.ServeHTTP(w, r)
		}}}
		client := w.client(t, jwks.Config{URL: issuer.JWKSURL(), NoCache: true})
		go func() { _, _ = client.Key(t.Context(), "1") }()
		synctest.Wait()
		if err := client.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		if len(w.asked) != 2 || w.last().Header.Get("Cache-Control") != "no-cache" {
			t.Errorf("%d requests, the last with %v", len(w.asked), w.last().Header)
		}
	})
}

// A jwks_uri that moved is found within minutes, although the old address goes on
// answering, with 304 too; and its ETag is not sent to the new one.
func TestAMovedKeySetIsFound(t *testing.T) {
	for name, old := range map[string]http.HandlerFunc{"answers": nil, "is gone": http.NotFound} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				before, after := jwkstest.New("https://old.example"), jwkstest.New("https://new.example")
				after.Add("2", "ES256")
				after.Revoke("1")
				address := before.JWKSURL()
				w := &world{hosts: map[string]http.HandlerFunc{"old.example": before.ServeHTTP, "new.example": after.ServeHTTP, "issuer.example": func(w http.ResponseWriter, r *http.Request) {
					fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q,"Issuer":"x","JWKS_URI":"y"}`, issuerURL, address)
				}}}
				client := w.client(t, jwks.Config{Issuer: issuerURL})
				wants(t, client, "1", nil)
				address = after.JWKSURL()
				if old != nil {
					before.Answer(old)
				}
				for range 10 { // minutes
					time.Sleep(time.Minute)
					_, _ = client.Key(t.Context(), "1")
					synctest.Wait()
				}
				wants(t, client, "2", nil)
				wants(t, client, "1", jwks.ErrSigningKeyNotFound)
				for _, r := range w.asked {
					if r.URL.Host == "new.example" {
						if etag := r.Header.Get("If-None-Match"); etag != "" {
							t.Errorf("the new address got the ETag %s of the old one", etag)
						}
						break
					}
				}
			})
		})
	}
}

// A kid that is not known is a reason to ask where the keys are.
func TestAnUnknownKidFindsAMovedKeySet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		before, after := jwkstest.New("https://old.example"), jwkstest.New("https://new.example")
		after.Add("2", "ES256")
		address := before.JWKSURL()
		w := &world{hosts: map[string]http.HandlerFunc{"old.example": before.ServeHTTP, "new.example": after.ServeHTTP, "issuer.example": func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q}`, issuerURL, address)
		}}}
		client := w.client(t, jwks.Config{Issuer: issuerURL})
		wants(t, client, "1", nil)
		address = after.JWKSURL()
		time.Sleep(time.Minute)
		wants(t, client, "2", nil)
	})
}

// An address stays known while its metadata cannot be fetched.
func TestMetadataThatFailsLater(t *testing.T) {
	for name, fail := range map[string]http.HandlerFunc{
		"down": down, "hangs": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "of another": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"issuer":"x"}`) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				issuer := jwkstest.New("https://keys.example")
				answer := func(w http.ResponseWriter, r *http.Request) {
					fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q}`, issuerURL, issuer.JWKSURL())
				}
				w := &world{hosts: map[string]http.HandlerFunc{"keys.example": issuer.ServeHTTP, "issuer.example": func(w http.ResponseWriter, r *http.Request) { answer(w, r) }}}
				client := w.client(t, jwks.Config{Issuer: issuerURL})
				wants(t, client, "1", nil)
				answer = fail
				issuer.Add("2", "ES256")
				time.Sleep(time.Hour)
				wants(t, client, "2", nil)
			})
		})
	}
}

// A redirect that leads elsewhere than last time answers for another document.
func TestAnETagBelongsToTheURLThatGaveIt(t *testing.T) {
	a, b := jwkstest.New("https://a.example"), jwkstest.New("https://b.example")
	b.Add("2", "ES256")
	same := func(set func() []byte) http.HandlerFunc { // both use a version number for an ETag
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("ETag", `"v1"`)
			if r.Header.Get("If-None-Match") == `"v1"` {
				w.WriteHeader(http.StatusNotModified)
				return
			}
			_, _ = w.Write(set())
		}
	}
	to := "https://a.example/jwks.json"
	w := &world{hosts: map[string]http.HandlerFunc{"a.example": same(a.JWKS), "b.example": same(b.JWKS), "issuer.example": func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, to, http.StatusFound)
	}}}
	client := w.client(t, jwks.Config{URL: "https://issuer.example/jwks.json", RedirectHosts: []string{"a.example", "B.example:443"}})
	wants(t, client, "1", nil)
	to = "https://b.example/jwks.json"
	if err := client.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	wants(t, client, "2", nil)
}

// Freshness that is not valid, or is given twice, means stale (RFC 9111 section
// 4.2.1): 30 seconds here, rather than ten minutes.
func TestFreshness(t *testing.T) {
	date := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(http.TimeFormat) }
	const stale, unknown = 30 * time.Second, 10 * time.Minute
	for name, test := range map[string]struct {
		header func() http.Header
		want   time.Duration
	}{
		"nothing":           {func() http.Header { return http.Header{} }, unknown},
		"only other things": {func() http.Header { return http.Header{"Cache-Control": {"public, must-revalidate"}} }, unknown},
		"negative":          {func() http.Header { return http.Header{"Cache-Control": {"max-age=-1"}} }, stale},
		"letters":           {func() http.Header { return http.Header{"Cache-Control": {"max-age=abc"}} }, stale},
		"a fraction":        {func() http.Header { return http.Header{"Cache-Control": {"max-age=1.5"}} }, stale},
		"no value":          {func() http.Header { return http.Header{"Cache-Control": {"max-age"}} }, stale},
		"an empty value":    {func() http.Header { return http.Header{"Cache-Control": {"max-age="}} }, stale},
		"two of them":       {func() http.Header { return http.Header{"Cache-Control": {"max-age=60, max-age=300"}} }, stale},
		"two fields":        {func() http.Header { return http.Header{"Cache-Control": {"max-age=60", "max-age=60"}} }, stale},
		"one good, one bad": {func() http.Header { return http.Header{"Cache-Control": {"max-age=abc, max-age=300"}} }, stale},
		"no comma":          {func() http.Header { return http.Header{"Cache-Control": {"public max-age=600"}} }, stale},
		"a semicolon":       {func() http.Header { return http.Header{"Cache-Control": {"public; max-age=600"}} }, stale},
		"a colon":           {func() http.Header { return http.Header{"Cache-Control": {"max-age:600"}} }, stale},
		"two, a semicolon":  {func() http.Header { return http.Header{"Cache-Control": {"no-cache; private"}} }, stale},
		"an open quote":     {func() http.Header { return http.Header{"Cache-Control": {`private="a, max-age=600`}} }, stale},
		"something of others": {func() http.Header {
			return http.Header{"Cache-Control": {"x-max-age=5, y=\"; max-age=5\", max-age=60"}}
		}, time.Minute},
		"quoted commas":        {func() http.Header { return http.Header{"Cache-Control": {`private="a, max-age=5, \", b", max-age=60`}} }, time.Minute},
		"in quotes":            {func() http.Header { return http.Header{"Cache-Control": {`max-age="60"`}} }, time.Minute},
		"s-maxage is others'":  {func() http.Header { return http.Header{"Cache-Control": {"s-maxage=5, max-age=60"}} }, time.Minute},
		"Expires: 0":           {func() http.Header { return http.Header{"Expires": {"0"}} }, stale},
		"Expires: -1":          {func() http.Header { return http.Header{"Expires": {"-1"}} }, stale},
		"Expires, past":        {func() http.Header { return http.Header{"Expires": {date(-time.Hour)}} }, stale},
		"Expires":              {func() http.Header { return http.Header{"Expires": {date(2 * time.Minute)}} }, 2 * time.Minute},
		"Expires, far":         {func() http.Header { return http.Header{"Expires": {date(1000 * time.Hour)}} }, unknown},
		"Expires twice":        {func() http.Header { return http.Header{"Expires": {date(2 * time.Minute), date(time.Minute)}} }, stale},
		"Expires and max-age":  {func() http.Header { return http.Header{"Expires": {"0"}, "Cache-Control": {"max-age=60"}} }, time.Minute},
		"Expires and no-cache": {func() http.Header { return http.Header{"Expires": {date(time.Hour)}, "Cache-Control": {"no-cache"}} }, stale},
		"Expires, other clock": {func() http.Header {
			return http.Header{"Expires": {date(time.Hour + time.Minute)}, "Date": {date(time.Hour)}}
		}, time.Minute},
		"Pragma":             {func() http.Header { return http.Header{"Pragma": {"no-cache"}} }, stale},
		"Pragma and max-age": {func() http.Header { return http.Header{"Pragma": {"no-cache"}, "Cache-Control": {"max-age=60"}} }, time.Minute},
		"Age":                {func() http.Header { return http.Header{"Age": {"20"}, "Cache-Control": {"max-age=60"}} }, 40 * time.Second},
		"Age twice":          {func() http.Header { return http.Header{"Age": {"20, 50"}, "Cache-Control": {"max-age=60"}} }, 40 * time.Second},
		"Age that is none":   {func() http.Header { return http.Header{"Age": {"-20"}, "Cache-Control": {"max-age=60"}} }, time.Minute},
		"Age beyond it":      {func() http.Header { return http.Header{"Age": {"100000"}, "Cache-Control": {"max-age=300"}} }, stale},
		"Age, far too large": {func() http.Header {
			return http.Header{"Age": {"99999999999999999999"}, "Cache-Control": {"max-age=300"}}
		}, stale},
		"Expires without Date, by RFC 850": {func() http.Header {
			return http.Header{"Expires": {time.Now().Add(2 * time.Minute).UTC().Format("Monday, 02-Jan-06 15:04:05 GMT")}}
		}, 2 * time.Minute},
		"a comma too many":      {func() http.Header { return http.Header{"Cache-Control": {",, max-age=60,"}} }, time.Minute},
		"upper case":            {func() http.Header { return http.Header{"Cache-Control": {"MAX-AGE=60"}} }, time.Minute},
		"no-cache with a field": {func() http.Header { return http.Header{"Cache-Control": {`no-cache="Set-Cookie", max-age=60`}} }, stale},
		"a sign":                {func() http.Header { return http.Header{"Cache-Control": {"max-age=+60"}} }, stale},
		"many digits":           {func() http.Header { return http.Header{"Cache-Control": {"max-age=9999999999999999999999"}} }, unknown},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				issuer := jwkstest.New(issuerURL)
				issuer.Answer(func(w http.ResponseWriter, _ *http.Request) {
					maps.Copy(w.Header(), test.header())
					_, _ = w.Write(issuer.JWKS())
				})
				client := newClient(t, issuer, jwks.Config{})
				wants(t, client, "1", nil)
				issuer.Answer(down)
				time.Sleep(test.want - time.Nanosecond)
				wants(t, client, "1", nil)
				time.Sleep(time.Second)
				wants(t, client, "1", jwks.ErrJWKS)
			})
		})
	}
}

// An answer that nothing has changed has the freshness it says, or else that of
// the answer before, and never a mixture.
func TestFreshnessOfAnUnchangedSet(t *testing.T) {
	for name, test := range map[string]struct {
		first, then http.Header
		want        time.Duration
	}{
		"as before":      {http.Header{"Cache-Control": {"max-age=60"}}, nil, time.Minute},
		"Pragma before":  {http.Header{"Pragma": {"no-cache"}}, nil, 30 * time.Second},
		"shorter":        {http.Header{"Cache-Control": {"max-age=60"}}, http.Header{"Cache-Control": {"max-age=40"}}, 40 * time.Second},
		"another field":  {http.Header{"Cache-Control": {"max-age=60"}}, http.Header{"Expires": {"0"}}, 30 * time.Second},
		"not any longer": {http.Header{"Expires": {"0"}}, http.Header{"Cache-Control": {"public"}}, 10 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				issuer := jwkstest.New(issuerURL)
				issuer.Answer(func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("ETag", `"a"`)
					if r.Header.Get("If-None-Match") != "" {
						maps.Copy(w.Header(), test.then)
						w.WriteHeader(http.StatusNotModified)
						return
					}
					maps.Copy(w.Header(), test.first)
					_, _ = w.Write(issuer.JWKS())
				})
				client := newClient(t, issuer, jwks.Config{})
				wants(t, client, "1", nil)
				if err := client.Refresh(t.Context()); err != nil {
					t.Fatal(err)
				}
				issuer.Answer(down)
				time.Sleep(test.want - time.Nanosecond)
				wants(t, client, "1", nil)
				time.Sleep(time.Second)
				wants(t, client, "1", jwks.ErrJWKS)
			})
		})
	}
}

// Secrets in Header reach the configured hosts alone: not a host that metadata
// names, nor one that a redirect leads to, configured for redirects or not.
func TestHeadersReachConfiguredHostsAlone(t *testing.T) {
	header := http.Header{"authorization": {"Bearer hunter2"}, "X-Api-Key": {"hunter2"}, "Cookie": {"a=hunter2"}, "User-Agent": {"orders/1"}}
	issuer := jwkstest.New(issuerURL)
	redirect := func(to string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, http.StatusTemporaryRedirect) }
	}
	serve := func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(issuer.JWKS()) }
	for name, test := range map[string]struct {
		config jwks.Config
		hosts  map[string]http.HandlerFunc
	}{
		"the URL's host": {jwks.Config{URL: "https://issuer.example/jwks.json"}, map[string]http.HandlerFunc{"issuer.example": serve}},
		"a redirect":     {jwks.Config{URL: "https://issuer.example/?key=hunter2", RedirectHosts: []string{"other.example"}}, map[string]http.HandlerFunc{"issuer.example": redirect("https://other.example/"), "other.example": serve}},
		"the same host":  {jwks.Config{URL: "https://issuer.example/jwks.json"}, map[string]http.HandlerFunc{"issuer.example": redirect("https://ISSUER.example:443/2"), "ISSUER.example:443": serve}},
		"there and back": {jwks.Config{URL: "https://issuer.example/jwks.json", RedirectHosts: []string{"other.example"}}, map[string]http.HandlerFunc{"issuer.example": redirect("https://other.example/"), "other.example": redirect("https://issuer.example:443/"), "issuer.example:443": serve}},
		"another port":   {jwks.Config{URL: "https://issuer.example/jwks.json", RedirectHosts: []string{"issuer.example:8443"}}, map[string]http.HandlerFunc{"issuer.example": redirect("https://issuer.example:8443/"), "issuer.example:8443": serve}},
		"another scheme": {jwks.Config{URL: "https://issuer.example/jwks.json", AllowHTTP: true, RedirectHosts: []string{"issuer.example:80"}}, map[string]http.HandlerFunc{"issuer.example": redirect("http://issuer.example:80/"), "issuer.example:80": serve}},
		"a host of metadata": {jwks.Config{Issuer: issuerURL}, map[string]http.HandlerFunc{"other.example": serve, "issuer.example": func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":"https://other.example/"}`, issuerURL)
		}}},
	} {
		t.Run(name, func(t *testing.T) {
			w := &world{hosts: test.hosts}
			test.config.Header = header
			wants(t, w.client(t, test.config), "1", nil)
			for _, r := range w.asked {
				own := strings.EqualFold(r.URL.Hostname(), "issuer.example") && r.URL.Port() != "8443" && r.URL.Scheme == "https"
				has := strings.Contains(fmt.Sprint(r.Header), "hunter2")
				if own != has || r.UserAgent() != "orders/1" {
					t.Errorf("%s got %v", r.URL, r.Header)
				}
			}
		})
	}
}

// One host has several spellings.
func TestRedirectsToTheSameHost(t *testing.T) {
	issuer := jwkstest.New(issuerURL)
	for _, test := range []struct {
		url, to string
		hosts   []string
		want    error
	}{
		{"https://issuer.example/a", "https://issuer.example:443/b", nil, nil},
		{"https://issuer.example:443/a", "https://issuer.example/b", nil, nil},
		{"https://issuer.example/a", "https://Issuer.Example/b", nil, nil},
		{"https://issuer.example/a", "https://issuer.example:8443/b", nil, jwks.ErrJWKS},
		{"http://issuer.example/a", "http://issuer.example:80/b", nil, nil},
		{"http://issuer.example/a", "https://issuer.example/b", nil, jwks.ErrJWKS},
		{"https://issuer.example/a", "https://cdn.example:443/b", []string{"CDN.example"}, nil},
		{"https://issuer.example/a", "https://cdn.example/b", []string{"cdn.example:443"}, nil},
		{"https://issuer.example/a", "https://cdn.example:444/b", []string{"cdn.example"}, jwks.ErrJWKS},
		{"https://issuer.example/a", "https://[::1]/b", []string{"[::1]:443"}, nil},
		{"https://issuer.example/a", "https://evil.example/issuer.example:443", nil, jwks.ErrJWKS},
	} {
		to := &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			w := httptest.NewRecorder()
			if r.URL.Path == "/a" {
				http.Redirect(w, r, test.to, http.StatusFound)
			} else {
				_, _ = w.Write(issuer.JWKS())
			}
			response := w.Result()
			response.Request = r
			return response, nil
		})}
		client, err := jwks.New(jwks.Config{URL: test.url, AllowHTTP: true, RedirectHosts: test.hosts, HTTPClient: to})
		if err != nil {
			t.Fatal(err)
		}
		t.Log(test.url, test.to)
		wants(t, client, "1", test.want)
	}
}

// A Fetch of one's own passes the answer's header on, and with it what the issuer
// says about age and not_before.
func TestFetchPassesTheHeaderOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issuer := jwkstest.New(issuerURL)
		at := time.Now().Add(-time.Minute).Truncate(time.Second)
		client, err := jwks.New(jwks.Config{URL: issuer.JWKSURL(), Fetch: func(ctx context.Context, url string) ([]byte, error) {
			header := jwks.ResponseHeader(ctx)
			header.Set("Keyward-Not-Before", fmt.Sprint(at.Unix()))
			header.Set("Cache-Control", "max-age=60")
			return issuer.JWKS(), nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		wants(t, client, "1", nil)
		if !client.NotBefore().Equal(at) {
			t.Errorf("not_before is %v", client.NotBefore())
		}
		issuer.Revoke("1")
		time.Sleep(time.Minute)
		wants(t, client, "1", jwks.ErrNoKeys)
		jwks.ResponseHeader(t.Context()).Set("A", "b") // of no use, but no harm
	})
}

// Where there is no metadata of one standard there may be that of the other.
func TestDiscoveryFallsBack(t *testing.T) {
	for status, falls := range map[int]bool{
		400: true, 401: true, 403: true, 404: true, 405: true, 406: true, 410: true, 501: true,
		408: false, 425: false, 429: false, 500: false, 502: false, 503: false,
	} {
		issuer := jwkstest.New(issuerURL)
		w := &world{hosts: map[string]http.HandlerFunc{"issuer.example": func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/.well-known/openid-configuration") {
				w.WriteHeader(status)
				return
			}
			issuer.ServeHTTP(w, r)
		}}}
		want := error(jwks.ErrJWKS)
		if falls {
			want = nil
		}
		t.Log(status)
		wants(t, w.client(t, jwks.Config{Issuer: issuerURL}), "1", want)
	}
}

// Sites of one page answer every path with it, and login proxies send to the login.
func TestDiscoveryFallsBackFromPages(t *testing.T) {
	for name, test := range map[string]struct {
		answer http.HandlerFunc
		want   error
	}{
		"a page":  {text("<!doctype html><title>Shop</title>"), nil},
		"nothing": {text(""), nil},
		"a list":  {text("[]"), nil},
		"a login elsewhere": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://login.example/", http.StatusFound)
		}, nil},
		"metadata of another":    {text(`{"issuer":"https://issuer.example/t/other","jwks_uri":"https://issuer.example/jwks.json"}`), jwks.ErrJWKS},
		"metadata without https": {text(`{"issuer":"` + issuerURL + `","jwks_uri":"http://issuer.example/jwks.json"}`), jwks.ErrJWKS},
	} {
		t.Run(name, func(t *testing.T) {
			issuer := jwkstest.New(issuerURL)
			w := &world{hosts: map[string]http.HandlerFunc{"issuer.example": func(w http.ResponseWriter, r *http.Request) {
				if strings.HasSuffix(r.URL.Path, "/.well-known/openid-configuration") {
					test.answer(w, r)
					return
				}
				issuer.ServeHTTP(w, r)
			}}}
			wants(t, w.client(t, jwks.Config{Issuer: issuerURL}), "1", test.want)
		})
	}
}

func TestErrorsNameBothIssuers(t *testing.T) {
	w := &world{hosts: map[string]http.HandlerFunc{"issuer.example": func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"issuer":"https://issuer.example/t/other","jwks_uri":"https://issuer.example/jwks.json"}`)
	}}}
	_, err := w.client(t, jwks.Config{Issuer: issuerURL}).Key(t.Context(), "1")
	for _, want := range []string{issuerURL, "https://issuer.example/t/other"} {
		if err == nil || !strings.Contains(err.Error(), `"`+want+`"`) {
			t.Errorf("%v does not name %s", err, want)
		}
	}
}

// A Retry-After may be a date, and is not obeyed for longer than a minute.
func TestRetryAfterHasBounds(t *testing.T) {
	for name, test := range map[string]struct {
		value func() string
		want  string
		wait  time.Duration
	}{
		"a date":       {func() string { return time.Now().Add(20 * time.Second).UTC().Format(http.TimeFormat) }, "20", 20 * time.Second},
		"a past date":  {func() string { return time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat) }, "", 0},
		"a far date":   {func() string { return "Fri, 31 Dec 9999 23:59:59 GMT" }, "60", time.Minute},
		"a day":        {func() string { return "86400" }, "60", time.Minute},
		"many digits":  {func() string { return "99999999999999999999999" }, "60", time.Minute},
		"negative":     {func() string { return "-5" }, "", 0},
		"nothing good": {func() string { return "soon" }, "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				issuer := jwkstest.New(issuerURL)
				issuer.Answer(func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Retry-After", test.value())
					w.WriteHeader(http.StatusServiceUnavailable)
				})
				client := newClient(t, issuer, jwks.Config{})
				_, err := client.Key(t.Context(), "1")
				if got := jwks.RetryAfter(err); got != test.want {
					t.Errorf("to be tried again after %q", got)
				}
				issuer.Answer(nil)
				if test.wait > 0 {
					time.Sleep(test.wait - time.Second)
					wants(t, client, "1", jwks.ErrJWKS)
					time.Sleep(time.Second)
				}
				wants(t, client, "1", nil)
			})
		})
	}
}
