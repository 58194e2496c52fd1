package seal_test

import (
	"strings"
	"testing"

	"github.com/keyward/keyward/keys/seal"
)

func TestURIsThatNameNothing(t *testing.T) {
	for uri, want := range map[string]error{
		"":                                 seal.ErrBadURI,
		"/etc/keyward/master.json":         seal.ErrBadURI,
		"c2VjcmV0LWtleS1tYXRlcmlhbA==":     seal.ErrBadURI,
		"file:":                            seal.ErrBadURI,
		"file:///":                         seal.ErrBadURI,
		"file:directory/":                  seal.ErrBadURI,
		"file:directory/.":                 seal.ErrBadURI,
		"file:..":                          seal.ErrBadURI,
		"file://etc/keyward":               seal.ErrBadURI,
		"file:a%zz":                        seal.ErrBadURI,
		"file:a%00b":                       seal.ErrBadURI,
		"file:a?b":                         seal.ErrBadURI,
		"file:a#b":                         seal.ErrBadURI,
		"vault://u:hunter2@host/transit/k": seal.ErrUnknownScheme,
		"env:":                             seal.ErrBadURI,
		"env://MASTER":                     seal.ErrBadURI,
		"env:c2VjcmV0LWtleS1tYXRlcmlhbA==": seal.ErrBadURI,
	} {
		_, err := seal.Open(t.Context(), uri)
		wantErr(t, "Open "+uri, err, want)
		_, err = seal.Init(t.Context(), uri)
		wantErr(t, "Init "+uri, err, want)
	}
}

func TestUnknownSchemeSaysWhichAreKnown(t *testing.T) {
	_, err := seal.Open(t.Context(), "vault://u:hunter2@host/transit/k?token=hunter2")
	if s := err.Error(); strings.Contains(s, "hunter2") || !strings.Contains(s, "(known: ") || !strings.Contains(s, "@host/transit/k") {
		t.Error(s)
	}
}

func TestRedact(t *testing.T) {
	for uri, want := range map[string]string{
		"file:/etc/keyward/master.json":  "file:/etc/keyward/master.json",
		"aws-kms://arn:aws:kms:eu:1:k/2": "aws-kms://arn:aws:kms:eu:1:k/2",
		"v://token@host:8200/k":          "v://[redacted]@host:8200/k",
		"v://u:p/a@b@host/k":             "v://[redacted]@host/k",
		"v://host/k?token=x#y":           "v://host/k?[redacted]",
		"raw:AAAA":                       "raw:[redacted]",
		"env:MASTER_2":                   "env:MASTER_2",
		"env:c2VjcmV0":                   "env:[redacted]",
		"AAAA":                           "[redacted]",
		"AA AA:BB":                       "[redacted]",
	} {
		if got := seal.Redact(uri); got != want {
			t.Errorf("Redact(%q) = %q, want %q", uri, got, want)
		}
	}
}
