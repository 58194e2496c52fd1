package webhook

import (
	"net/netip"
	"net/url"
	"strings"
	"testing"
)

// A URL that is accepted leads by HTTPS to a host, or to an allowed network, and says so in the
// same words to whoever parses it.
func FuzzURL(f *testing.F) {
	for _, seed := range []string{
		"https://hooks.example.com/x?y=z", "https://127.0.0.1/", "https://0x7f.1", "https://2130706433/", "https://[::ffff:10.0.0.1]/", "https://u:p@x.example", "https:x.example", "https://x.example:0", "https://x.example:", "http://x.example",
		"https://x.example#f", "https://169.254.169.254/latest", "https://[fe80::1%25eth0]/", "https://x.example\\@127.0.0.1/", "https://localhost", "HTTPS://x.example", "https://10.1.2.3", "https://x.example/%zz", "https://\u2488.example",
	} {
		f.Add(seed)
	}
	allowed := netip.MustParsePrefix("10.1.0.0/16")
	strict, lenient := newTargets(nil, nil), newTargets([]netip.Prefix{allowed}, nil)
	f.Fuzz(func(t *testing.T, raw string) {
		if strict.refusal(raw) == "" {
			u, err := url.Parse(raw)
			if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.Fragment != "" || strings.ContainsAny(raw, " \r\n\t") {
				t.Fatalf("%q is accepted: %v %v", raw, u, err)
			}
			if ip, err := netip.ParseAddr(u.Hostname()); err == nil && (ip.Unmap().IsPrivate() || ip.Unmap().IsLoopback() || ip.IsLinkLocalUnicast() || ip.IsUnspecified() || ip.IsMulticast()) {
				t.Errorf("%q is accepted", raw)
			}
		}
		if lenient.refusal(raw) == "" {
			if ip, err := netip.ParseAddr(func() string { u, _ := url.Parse(raw); return u.Hostname() }()); err == nil && ip.Unmap().IsPrivate() && !allowed.Contains(ip.Unmap()) {
				t.Errorf("%q is accepted", raw)
			}
		}
	})
}
