package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	externaljwt "k8s.io/externaljwt/apis/v1"

	"github.com/keyward/keyward/client"
)

// algorithms are those that kube-apiserver accepts from an external signer.
var algorithms = []string{"RS256", "ES256", "ES384", "ES512"}

// shortestLifetime is the least max_token_expiration_seconds that kube-apiserver accepts.
const shortestLifetime = 600

// errPolicy means that the tenant's policy is one that kube-apiserver would refuse.
var errPolicy = errors.New("the tenant's policy does not suit kube-apiserver")

// signer implements the three calls of kube-apiserver with one tenant's keys. What is signed
// is bound by Keyward's rules of tokens: the issuer is the tenant's, the lifetime within the
// policy.
type signer struct {
	externaljwt.UnimplementedExternalJWTSignerServer

	api    *client.Client
	tenant string
	alg    string
	issuer string
	keys   keySource
	log    *slog.Logger
}

// newSigner returns a signer, after it has seen that the tenant has keys and a policy which
// kube-apiserver accepts. The client's credential needs the role tenant_signer.
func newSigner(ctx context.Context, c *client.Client, tenant, alg string, log *slog.Logger) (*signer, error) {
	if !slices.Contains(algorithms, alg) {
		return nil, fmt.Errorf("kube-apiserver does not accept the algorithm %q, only %s", alg, strings.Join(algorithms, ", "))
	}
	about, err := c.GetTenant(ctx, tenant)
	if err != nil {
		return nil, err
	}
	s := &signer{api: c, tenant: tenant, alg: alg, issuer: about.Issuer, keys: keySource{api: c, tenant: tenant}, log: log}
	if _, err := s.longestLifetime(ctx); err != nil {
		return nil, err
	}
	_, _, err = s.keys.current(ctx)
	return s, err
}

// Sign signs exactly the claims that kube-apiserver sends, in base64url. The header has alg,
// kid and typ and nothing else, which is all that kube-apiserver accepts.
func (s *signer) Sign(ctx context.Context, r *externaljwt.SignJWTRequest) (*externaljwt.SignJWTResponse, error) {
	signed, err := s.api.SignPayload(ctx, s.tenant, client.SignPayloadRequest{Payload: r.GetClaims(), Alg: new(client.Alg(s.alg)), Typ: new("JWT")})
	if err != nil {
		return nil, s.failed("sign", err)
	}
	parts := strings.Split(signed.Jws, ".")
	if len(parts) != 3 || parts[1] != r.GetClaims() {
		return nil, s.failed("sign", client.ErrNotKeyward)
	}
	return &externaljwt.SignJWTResponse{Header: parts[0], Signature: parts[2]}, nil
}

// FetchKeys returns the published keys, the next one to sign among them, so that
// kube-apiserver knows it before its first token. All of them belong into OIDC discovery:
// Keyward publishes them there itself.
func (s *signer) FetchKeys(ctx context.Context, _ *externaljwt.FetchKeysRequest) (*externaljwt.FetchKeysResponse, error) {
	set, stale, err := s.keys.current(ctx)
	if err != nil {
		return nil, s.failed("fetch keys", err)
	}
	if stale != nil {
		s.log.Warn("Keyward does not answer: kube-apiserver gets the last key set", "error", stale)
	}
	return set, nil
}

// Metadata returns how long a token may live.
func (s *signer) Metadata(ctx context.Context, _ *externaljwt.MetadataRequest) (*externaljwt.MetadataResponse, error) {
	seconds, err := s.longestLifetime(ctx)
	if err != nil {
		return nil, s.failed("read the policy", err)
	}
	return &externaljwt.MetadataResponse{MaxTokenExpirationSeconds: seconds}, nil
}

// longestLifetime returns the policy's max_token_ttl_seconds less the tenant's
// clock_skew_seconds. Keyward counts the lifetime from its own present: without the margin a
// token of the full lifetime would be refused whenever kube-apiserver's clock is ahead.
func (s *signer) longestLifetime(ctx context.Context) (int64, error) {
	about, err := s.api.GetTenant(ctx, s.tenant)
	if err != nil {
		return 0, err
	}
	list, err := s.api.ListPolicies(ctx, s.tenant)
	if err != nil {
		return 0, err
	}
	at := slices.IndexFunc(list.Items, func(p client.Policy) bool { return string(p.Alg) == s.alg })
	if at < 0 {
		return 0, fmt.Errorf("%w: there is none of the algorithm %s", errPolicy, s.alg)
	}
	seconds := list.Items[at].MaxTokenTTLSeconds - about.ClockSkewSeconds
	if seconds < shortestLifetime {
		return 0, fmt.Errorf("%w: max_token_ttl_seconds is %d, and must be %d or more, the tenant's clock_skew_seconds included",
			errPolicy, list.Items[at].MaxTokenTTLSeconds, shortestLifetime+about.ClockSkewSeconds)
	}
	return seconds, nil
}

// failed logs why a call failed and returns the error for kube-apiserver.
func (s *signer) failed(what string, err error) error {
	code := codeOf(err)
	s.log.Error("a call of kube-apiserver failed", "call", what, "code", code.String(), "error", err)
	return status.Error(code, err.Error())
}

// codeOf returns the gRPC code of an error of Keyward's client. What is not Keyward's own
// refusal may pass: Keyward could not be reached.
func codeOf(err error) codes.Code {
	var problem *client.Problem
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return codes.DeadlineExceeded
	case errors.Is(err, context.Canceled):
		return codes.Canceled
	case errors.Is(err, errNoKeys), errors.Is(err, errPolicy):
		return codes.FailedPrecondition
	case !errors.As(err, &problem) || problem.Passing():
		return codes.Unavailable
	}
	switch problem.Status {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
		return codes.InvalidArgument
	case http.StatusUnauthorized:
		return codes.Unauthenticated
	case http.StatusForbidden:
		return codes.PermissionDenied
	case http.StatusNotFound:
		return codes.NotFound
	case http.StatusConflict:
		return codes.FailedPrecondition
	default:
		return codes.Internal
	}
}
