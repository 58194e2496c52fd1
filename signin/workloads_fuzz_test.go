package signin

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"github.com/google/uuid"

	"github.com/keyward/keyward/tenant"
)

// No text that nobody has signed gets in, and none makes more than a request for the keys
// of the one issuer that is trusted.
func FuzzWorkloads(f *testing.F) {
	asked := ""
	client := &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		asked = r.URL.Host
		return nil, errors.New("nobody answers")
	})}
	id := uuid.New()
	s := NewWorkloads(WorkloadsConfig{HTTPClient: client, Identities: func(context.Context, uuid.UUID) ([]tenant.WorkloadIdentity, error) {
		return []tenant.WorkloadIdentity{{
			ID: uuid.New(), TenantID: id, Issuer: "https://ci.example.com", Audience: "keyward", Role: tenant.TenantSigner, MaxTokenLifetime: maxIssuer,
			Rules: []tenant.ClaimRule{{Claim: "sub", Equals: "job"}},
		}}, nil
	}})
	for _, token := range []string{
		"", "..", "a.b.c", "e30.e30.e30", "eyJhbGciOiJub25lIn0.eyJpc3MiOiJodHRwczovL2NpLmV4YW1wbGUuY29tIiwiYXVkIjoia2V5d2FyZCJ9.",
		"eyJhbGciOiJFUzI1NiIsImtpZCI6IjEifQ.eyJpc3MiOiJodHRwczovL2NpLmV4YW1wbGUuY29tIiwiYXVkIjoia2V5d2FyZCIsInN1YiI6ImpvYiIsImV4cCI6OTk5OTk5OTk5OX0.AAAA",
		"eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOnt9LCJhdWQiOlsia2V5d2FyZCIsMV19.AAAA",
	} {
		f.Add(token)
	}
	f.Fuzz(func(t *testing.T, token string) {
		asked = ""
		p, err := s.Principal(t.Context(), id, token)
		if err == nil || p.Role != "" || asked != "" && asked != "ci.example.com" {
			t.Errorf("%q: %+v, asked %s", token, p, asked)
		}
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
