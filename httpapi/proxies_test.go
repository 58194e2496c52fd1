package httpapi

import (
	"net/http"
	"strings"
	"testing"
)

func TestNetwork(t *testing.T) {
	for addr, want := range map[string]string{
		"192.0.2.1:80": "192.0.2.1/32", "[::ffff:192.0.2.1]:80": "192.0.2.1/32", "[2001:db8:1:2:3::4]:1": "2001:db8:1:2::/64",
		"[fe80::1%eth0]:1": "fe80::/64", "pipe": "invalid Prefix",
	} {
		if got := (proxies{}).clientNetwork(&http.Request{RemoteAddr: addr}).String(); got != want {
			t.Errorf("%s: %s", addr, got)
		}
	}
}

func TestClientAddress(t *testing.T) {
	trusted, err := ParseProxies("10.0.0.0/8, 2001:db8:ffff::/48,192.0.2.9")
	if err != nil {
		t.Fatal(err)
	}
	const xff, fwd = "X-Forwarded-For", "Forwarded"
	for name, c := range map[string]struct {
		peer    string
		headers []string
		want    string
	}{
		"nobody says anything":          {"198.51.100.7:4711", nil, "198.51.100.7"},
		"a stranger's word":             {"198.51.100.7:4711", []string{xff, "203.0.113.1"}, "198.51.100.7"},
		"a stranger's new word":         {"198.51.100.7:4711", []string{fwd, "for=203.0.113.1"}, "198.51.100.7"},
		"a proxy without a word":        {"10.1.1.1:1", nil, "10.1.1.1"},
		"one proxy":                     {"10.1.1.1:1", []string{xff, "203.0.113.1"}, "203.0.113.1"},
		"one proxy of an address":       {"192.0.2.9:1", []string{xff, "203.0.113.1"}, "203.0.113.1"},
		"a spoofed first hop":           {"10.1.1.1:1", []string{xff, "127.0.0.1, 203.0.113.1"}, "203.0.113.1"},
		"a spoofed trusted hop":         {"10.1.1.1:1", []string{xff, "1.1.1.1, 10.9.9.9, 203.0.113.1"}, "203.0.113.1"},
		"two proxies":                   {"10.1.1.1:1", []string{xff, "1.1.1.1, 203.0.113.1,10.2.2.2"}, "203.0.113.1"},
		"two lines":                     {"10.1.1.1:1", []string{xff, "203.0.113.1", xff, "10.2.2.2"}, "203.0.113.1"},
		"a client inside":               {"10.1.1.1:1", []string{xff, "10.3.3.3, 10.2.2.2"}, "10.3.3.3"},
		"garbage":                       {"10.1.1.1:1", []string{xff, "203.0.113.1, <script>"}, "10.1.1.1"},
		"garbage behind a proxy":        {"10.1.1.1:1", []string{xff, "203.0.113.1, unknown, 10.2.2.2"}, "10.2.2.2"},
		"an empty hop":                  {"10.1.1.1:1", []string{xff, "203.0.113.1,"}, "10.1.1.1"},
		"a port":                        {"10.1.1.1:1", []string{xff, "203.0.113.1:4711"}, "203.0.113.1"},
		"IPv6":                          {"[2001:db8:ffff::1]:1", []string{xff, "2001:db8::7"}, "2001:db8::7"},
		"IPv6 with a port":              {"10.1.1.1:1", []string{xff, "[2001:db8::7]:4711"}, "2001:db8::7"},
		"IPv6 with a zone":              {"10.1.1.1:1", []string{xff, "fe80::1%eth0"}, "fe80::1"},
		"IPv4 in IPv6":                  {"[::ffff:10.1.1.1]:1", []string{xff, "::ffff:203.0.113.1"}, "203.0.113.1"},
		"very many hops":                {"10.1.1.1:1", []string{xff, "203.0.113.1" + strings.Repeat(",10.2.2.2", 100)}, "10.2.2.2"},
		"Forwarded":                     {"10.1.1.1:1", []string{fwd, "for=203.0.113.1;proto=https;by=10.2.2.2"}, "203.0.113.1"},
		"Forwarded, other order":        {"10.1.1.1:1", []string{fwd, `Proto=https ; For="[2001:db8::7]:4711"`}, "2001:db8::7"},
		"Forwarded, two proxies":        {"10.1.1.1:1", []string{fwd, "for=1.1.1.1, for=203.0.113.1, for=10.2.2.2"}, "203.0.113.1"},
		"Forwarded, two lines":          {"10.1.1.1:1", []string{fwd, "for=203.0.113.1", fwd, `for="10.2.2.2"`}, "203.0.113.1"},
		"Forwarded, hidden":             {"10.1.1.1:1", []string{fwd, "for=203.0.113.1, for=_hidden"}, "10.1.1.1"},
		"Forwarded, unknown":            {"10.1.1.1:1", []string{fwd, "for=unknown"}, "10.1.1.1"},
		"Forwarded without for":         {"10.1.1.1:1", []string{fwd, "for=203.0.113.1, proto=https"}, "10.1.1.1"},
		"Forwarded, an open quote":      {"10.1.1.1:1", []string{fwd, `for="1.1.1.1, for=203.0.113.1`}, "10.1.1.1"},
		"Forwarded, a quote taken over": {"10.1.1.1:1", []string{fwd, `for=1.1.1.1;x=", for="[2001:db8::7]:1"`}, "10.1.1.1"},
		"Forwarded, an escape":          {"10.1.1.1:1", []string{fwd, `for=1.1.1.1;x="\", for=203.0.113.1`}, "10.1.1.1"},
		"Forwarded, no pair":            {"10.1.1.1:1", []string{fwd, "203.0.113.1"}, "10.1.1.1"},
		"both agree":                    {"10.1.1.1:1", []string{xff, "203.0.113.1", fwd, "for=203.0.113.1"}, "203.0.113.1"},
		"a client adds the new one":     {"10.1.1.1:1", []string{xff, "203.0.113.1", fwd, "for=1.1.1.1"}, "10.1.1.1"},
		"a client adds the old one":     {"10.1.1.1:1", []string{xff, "1.1.1.1", fwd, "for=203.0.113.1"}, "10.1.1.1"},
		"no address at all":             {"@", []string{xff, "203.0.113.1"}, "@"},
	} {
		r := &http.Request{RemoteAddr: c.peer, Header: http.Header{}}
		for i := 0; i < len(c.headers); i += 2 {
			r.Header.Add(c.headers[i], c.headers[i+1])
		}
		if got := (proxies{trusted}).clientText(r); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
		if got := (proxies{}).clientText(r); strings.Contains(got, "203") {
			t.Errorf("%s: %s is believed though nobody is trusted", name, got)
		}
	}
}

func TestParseProxies(t *testing.T) {
	for _, text := range []string{",", "10.0.0.0/8,", "10.0.0.0/33", "proxy.example", "10.0.0.1:80", "0.0.0.0/0", "::/0", "::ffff:10.0.0.1", "::ffff:0.0.0.0/96"} {
		if got, err := ParseProxies(text); err == nil {
			t.Errorf("%q: %v", text, got)
		}
	}
	if got, err := ParseProxies(""); err != nil || got != nil {
		t.Errorf("%v, %v", got, err)
	}
}

func FuzzForwarded(f *testing.F) {
	f.Add(`for="[2001:db8::7]:4711";proto=https, for=10.2.2.2`)
	f.Fuzz(func(t *testing.T, line string) {
		if hops := forwardedFor([]string{line, "for=192.0.2.1"}); hops != nil && hops[len(hops)-1] != "192.0.2.1" {
			t.Errorf("%q hides what a proxy adds: %q", line, hops)
		}
		// What a proxy appends to the line either counts as the last hop, or the whole line counts for nothing.
		if hops := forwardedFor([]string{line + ", for=192.0.2.1"}); hops != nil && hops[len(hops)-1] != "192.0.2.1" {
			t.Errorf("%q hides what a proxy appends: %q", line, hops)
		}
	})
}
