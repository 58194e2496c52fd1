// Package signer signs with the keys of a tenant of Keyward through its API, for Go
// libraries that take a [crypto.Signer] or go-jose's [jose.OpaqueSigner]. The private key
// stays in Keyward.
//
//	s, err := signer.New(ctx, c, "acme", jose.ES256)
//	js, err := jose.NewSigner(jose.SigningKey{Algorithm: s.Alg(), Key: s.Opaque()}, nil)
//	jws, err := js.Sign(payload)
//
// What the package guarantees: Keyward holds what is signed to the rules of its tokens,
// whoever made it. A payload that a verifier may take for a token needs an exp within the
// policy and the tenant's iss, else the error is a [*client.Problem]. Therefore it signs
// messages and no digests, and no messages but JWS signing inputs (RFC 7515 section 5.1).
//
// Tokens are simpler by [client.Client.SignToken], which asks Keyward for iss, iat, exp
// and jti.
package signer

import (
	"context"
	"crypto"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyward/keyward/client"
)

// Errors of a [Signer], beside those of package client.
var (
	// ErrNoKey means that the tenant publishes no key of the algorithm.
	ErrNoKey = errors.New("the tenant publishes no key of this algorithm")
	// ErrKeyChanged means that another key signs now, as after a rotation. The signer has
	// the new one: make the header again, and sign again.
	ErrKeyChanged = errors.New("another key signs now: sign again")
	// ErrDigest means that only a digest is there to be signed, or by another hash than
	// the algorithm's.
	ErrDigest = errors.New("a digest alone is not signed, only messages with the hash of the algorithm: use crypto.SignMessage")
	// ErrNotJWS means that a message is no JWS signing input.
	ErrNotJWS = errors.New("the message is no JWS signing input (RFC 7515 section 5.1)")
)

// answerTimeout bounds a signature, for which the interfaces give no context.
const answerTimeout = 30 * time.Second

// Signer is a [crypto.MessageSigner], and so a [crypto.Signer], with a tenant's active key
// of one algorithm. It may be used by many goroutines at once.
type Signer struct {
	api    *client.Client
	tenant string
	alg    jose.SignatureAlgorithm

	mu  sync.Mutex
	key jose.JSONWebKey
}

// New returns a signer for a tenant, by slug or id, and one of its algorithms; empty: the
// default policy's. The client's credential needs the role tenant_signer. Errors: ErrNoKey,
// and those of package client.
func New(ctx context.Context, c *client.Client, tenant string, alg jose.SignatureAlgorithm) (*Signer, error) {
	s := &Signer{api: c, tenant: tenant, alg: alg}
	if alg == "" {
		list, err := c.ListPolicies(ctx, tenant)
		if err != nil {
			return nil, err
		}
		at := slices.IndexFunc(list.Items, func(p client.Policy) bool { return p.Default })
		if at < 0 {
			return nil, ErrNoKey
		}
		s.alg = jose.SignatureAlgorithm(list.Items[at].Alg)
	}
	return s, s.Refresh(ctx)
}

// Refresh reads which key signs now from the tenant's JWK Set, in which active keys come
// first. A signer does so itself when Keyward refuses the key that it knows. Errors: those
// of [New].
func (s *Signer) Refresh(ctx context.Context) error {
	text, err := client.Bytes(s.api.Requests.GetJWKS(ctx, s.tenant, nil))
	if err != nil {
		return err
	}
	var set struct{ Keys []json.RawMessage }
	if err := json.Unmarshal(text, &set); err != nil {
		return client.ErrNotKeyward
	}
	for _, jwk := range set.Keys {
		var key jose.JSONWebKey
		if key.UnmarshalJSON(jwk) != nil || key.Algorithm != string(s.alg) {
			continue
		}
		s.mu.Lock()
		s.key = key
		s.mu.Unlock()
		return nil
	}
	return fmt.Errorf("%w: %s", ErrNoKey, s.alg)
}

// Alg returns the algorithm.
func (s *Signer) Alg() jose.SignatureAlgorithm { return s.alg }

// KID returns the kid of the key, which the header of a JWS must name.
func (s *Signer) KID() string { return s.jwk().KeyID }

func (s *Signer) jwk() jose.JSONWebKey {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.key
}

// Public returns the public key that verifies: *ecdsa.PublicKey, *rsa.PublicKey,
// ed25519.PublicKey or *mldsa.PublicKey.
func (s *Signer) Public() crypto.PublicKey { return s.jwk().Key }

// Sign signs a message with an algorithm that does not hash it first (EdDSA, Ed25519,
// ML-DSA), with opts.HashFunc() 0. Errors: those of SignMessage; ErrDigest with every other
// algorithm, as [crypto.MessageSigner] provides for.
func (s *Signer) Sign(random io.Reader, message []byte, opts crypto.SignerOpts) ([]byte, error) {
	if hashOf(s.alg) != 0 {
		return nil, ErrDigest
	}
	return s.SignMessage(random, message, opts)
}

// SignMessage signs a JWS signing input whose header names this algorithm and key. The
// signature has the form that Go's packages verify: ASN.1 for ECDSA. Errors: ErrDigest,
// ErrNotJWS, ErrKeyChanged, and those of package client.
func (s *Signer) SignMessage(_ io.Reader, message []byte, opts crypto.SignerOpts) ([]byte, error) {
	if err := checkOpts(s.alg, opts); err != nil {
		return nil, err
	}
	signature, err := s.sign(message)
	if err != nil || !strings.HasPrefix(string(s.alg), "ES") {
		return signature, err
	}
	return encodeASN1(signature)
}

// sign returns the signature over a JWS signing input, as in a JWS.
func (s *Signer) sign(input []byte) ([]byte, error) {
	request, err := splitInput(input)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), answerTimeout)
	defer cancel()
	signed, err := s.api.SignPayload(ctx, s.tenant, request)
	if p := (*client.Problem)(nil); errors.As(err, &p) && slices.ContainsFunc(p.Errors, func(f client.FieldError) bool { return f.Field == "protected.kid" }) {
		if err := s.Refresh(ctx); err != nil {
			return nil, err
		}
		return nil, ErrKeyChanged
	}
	if err != nil {
		return nil, err
	}
	return base64.RawURLEncoding.DecodeString(signed.Jws[strings.LastIndexByte(signed.Jws, '.')+1:])
}

// splitInput returns the request that has a signing input signed.
func splitInput(input []byte) (client.SignPayloadRequest, error) {
	header, payload, found := strings.Cut(string(input), ".")
	text, err := base64.RawURLEncoding.DecodeString(header)
	var members struct {
		B64 *bool `json:"b64"`
	}
	if !found || err != nil || json.Unmarshal(text, &members) != nil {
		return client.SignPayloadRequest{}, ErrNotJWS
	}
	if members.B64 != nil && !*members.B64 { // RFC 7797: the payload as it is
		payload = base64.RawURLEncoding.EncodeToString([]byte(payload))
	} else if _, err := base64.RawURLEncoding.DecodeString(payload); err != nil {
		return client.SignPayloadRequest{}, ErrNotJWS
	}
	return client.SignPayloadRequest{Payload: payload, Protected: &header, Detached: new(true)}, nil
}
