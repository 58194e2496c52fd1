package tenant

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

// A name that is compared has one spelling: what it is written as is parsed to itself, and it
// has no part that a verifier could read in two ways.
func FuzzWebName(f *testing.F) {
	for _, seed := range []string{
		"https://id.acme.example", "HTTPS://ID.Acme.Example:443/a/../b/", "http://x.example:80", "https://[::ffff:127.0.0.1]:8443/x", "https://[fe80::1%25eth0]/", "https://u@x.example", "https://x.example./",
		"https://x.example/%2e%2e/%61", "https://x.example:0443", "https://xn--bcher-kva.example", "https://b\u00fccher.example", "https:x", "//x.example", "https://x.example/a%2Fb", "https://1.2.3.4.", "https://x.example\\@y",
	} {
		f.Add(seed)
	}
	n := NewNamespace("https://keys.example.com")
	f.Fuzz(func(t *testing.T, text string) {
		if !isWebURL(text) { // refused before
			return
		}
		w, ok := parseWebName(text)
		if ok {
			if again, ok := parseWebName(w.String()); !ok || again != w {
				t.Errorf("%q is %q, which is %+v and not %+v", text, w, again, w)
			}
			if w.host == "" || strings.ToLower(w.host) != w.host || strings.ContainsAny(w.host, "@/\\ %") {
				t.Errorf("%q: host %q", text, w.host)
			}
		}
		names, err := n.Names(Tenant{Slug: "acme", OwnIssuer: text})
		if err == nil && names.IssuerHost == "keys.example.com" && !strings.HasSuffix(w.path, "/t/acme") {
			t.Errorf("%q is below the public URL", text)
		}
	})
}

// A domain that is claimed is a host name in one spelling.
func FuzzDomain(f *testing.F) {
	for _, seed := range []string{"id.acme.example", "B\u00fccher.example", "xn--bcher-kva.example", "\u212Aeys.example", "a\u3002b", "1.2.3.4", "localhost", "a.", "*.a.b", strings.Repeat("a.", 130)} {
		f.Add(seed)
	}
	n := NewNamespace("https://keys.example.com")
	f.Fuzz(func(t *testing.T, text string) {
		name, ok := canonicalDomain(text)
		if !ok {
			return
		}
		if again, ok := canonicalDomain(name); !ok || again != name || !IsDomain(name) || len(name) > 253 {
			t.Errorf("%q is %q, which is %q, %t", text, name, again, ok)
		}
		if n.isProvable(name) && (!strings.Contains(name, ".") || name == "keys.example.com" || strings.HasSuffix(name, ".localhost")) {
			t.Errorf("%q can be proved", name)
		}
	})
}

// Metadata that is accepted is stored as an object that says the same, and nothing that is the
// platform's to say.
func FuzzMetadata(f *testing.F) {
	for _, seed := range []string{
		`{"token_endpoint":"https://x.example/t","scopes_supported":["openid"]}`, `{"issuer":"x"}`, `{"i\u017f\u017fuer":"x"}`, `{"a":1e400,"b":0.10}`, `{"a":{"a":{"a":{}}}}`, `{"a":1,"a":2}`, `[]`, `null`, `{} {}`, "{\"\xff\":1}",
		`{"mtls_endpoint_aliases":{"jwks_uri":"https://x.example"}}`, `{"op_policy_uri":"javascript:x"}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var broken fields
		validateMetadata(&broken, json.RawMessage(text))
		if len(broken) > 0 {
			return
		}
		stored := canonicalMetadata(json.RawMessage(text))
		if stored == nil {
			return
		}
		if again := canonicalMetadata(stored); !bytes.Equal(again, stored) {
			t.Errorf("%s is stored as %s, and then as %s", text, stored, again)
		}
		var members map[string]json.RawMessage
		if err := json.Unmarshal(stored, &members); err != nil {
			t.Fatal(err)
		}
		for name := range members {
			for owned := range ownedMembers {
				if strings.EqualFold(name, owned) {
					t.Errorf("%s is accepted in %s", name, text)
				}
			}
		}
	})
}

// A position of a list that is read is one that was written.
func FuzzPosition(f *testing.F) {
	for _, seed := range []string{"", Position{endOfTime, [16]byte{1}}.Cursor(), "AAAA", strings.Repeat("A", 32), strings.Repeat("_", 32), "="} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, cursor string) {
		if p, err := ParsePosition(cursor); err == nil && cursor != "" && p.Cursor() != cursor && !strings.ContainsAny(cursor, "\r\n") {
			t.Errorf("%q is also %q", cursor, p.Cursor())
		}
	})
}

// Only a text of the form of an API key names one.
func FuzzParseKey(f *testing.F) {
	for _, seed := range []string{"kw_0195a0b0111172228333444455556666_" + strings.Repeat("a", 52), "kw__", "kw_x_y", "KW_1_2", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, key string) {
		if _, ok := parseKey(key); ok && (!strings.HasPrefix(key, "kw_") || strings.Count(key, "_") < 2 || len(key) > 200) {
			t.Errorf("%q", key)
		}
	})
}
