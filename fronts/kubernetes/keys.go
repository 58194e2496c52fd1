package main

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
	externaljwt "k8s.io/externaljwt/apis/v1"

	"github.com/keyward/keyward/client"
	"github.com/keyward/keyward/internal/age"
	"github.com/keyward/keyward/internal/cachecontrol"
)

var errNoKeys = errors.New("the tenant publishes no key of an algorithm that kube-apiserver accepts")

const (
	// fetchTimeout is short of the deadlines of kube-apiserver, which otherwise would not
	// get the last set while Keyward hangs.
	fetchTimeout = 3 * time.Second
	// retryHint is when kube-apiserver shall ask again after an old set.
	retryHint = 10
)

// keySource fetches a tenant's key set. While Keyward does not answer it returns the last
// one, for as long as the tenant's stale-if-error allows it to every verifier (RFC 5861):
// kube-apiserver does not start without keys.
type keySource struct {
	api    *client.Client
	tenant string

	mu      sync.Mutex
	last    *externaljwt.FetchKeysResponse
	fetched age.Instant
	keep    time.Duration
}

// current returns the key set. stale is why it is the last one and not the present one, nil
// if it is the present one. Errors: errNoKeys, and those of package client.
func (k *keySource) current(ctx context.Context) (set *externaljwt.FetchKeysResponse, stale, err error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	began := age.Now()
	set, keep, err := k.fetch(ctx)
	k.mu.Lock()
	defer k.mu.Unlock()
	var problem *client.Problem
	switch {
	case err == nil:
		if k.last == nil || !k.fetched.After(began) { // of two at once, the later one counts
			k.last, k.fetched, k.keep = set, began, keep
		}
		return set, nil, nil
	case errors.As(err, &problem) && !problem.Passing(), errors.Is(err, errNoKeys):
		k.last = nil // Keyward says so: it is no outage
		return nil, nil, err
	case k.last == nil || !k.fetched.Within(k.keep, age.Now()):
		return nil, nil, err
	}
	set = proto.CloneOf(k.last)
	set.RefreshHintSeconds = retryHint
	return set, err, nil
}

// fetch asks Keyward. keep is how long the set may be used while Keyward does not answer.
func (k *keySource) fetch(ctx context.Context) (set *externaljwt.FetchKeysResponse, keep time.Duration, err error) {
	asked := time.Now()
	response, err := k.api.Requests.GetJWKS(ctx, k.tenant, nil)
	var header http.Header
	if err == nil {
		header = response.Header
	}
	document, err := client.Decode[struct{ Keys []json.RawMessage }](response, err)
	if err != nil {
		return nil, 0, err
	}
	set = &externaljwt.FetchKeysResponse{RefreshHintSeconds: max(1, int64(cachecontrol.Directive(header, "max-age")/time.Second))}
	for _, jwk := range document.Keys {
		if key, ok := publicKey(jwk); ok {
			set.Keys = append(set.Keys, key)
		}
	}
	if len(set.Keys) == 0 {
		return nil, 0, errNoKeys
	}
	// A Keyward without its database serves what it had, and says how old that is.
	old, _ := strconv.ParseInt(header.Get("Keyward-Stale"), 10, 64) // absent: 0
	set.DataTimestamp = timestamppb.New(asked.Add(-time.Duration(old) * time.Second))
	return set, cachecontrol.Directive(header, "stale-if-error"), nil
}

// publicKey returns a JWK as kube-apiserver wants it. ok is false for a key that
// kube-apiserver does not verify with. The alg decides, since the form has none: a key of
// PS256 would become one of RS256.
func publicKey(text json.RawMessage) (key *externaljwt.Key, ok bool) {
	var jwk jose.JSONWebKey
	if jwk.UnmarshalJSON(text) != nil || !slices.Contains(algorithms, jwk.Algorithm) || jwk.Use != "sig" || jwk.KeyID == "" {
		return nil, false
	}
	der, err := x509.MarshalPKIXPublicKey(jwk.Key)
	return &externaljwt.Key{KeyId: jwk.KeyID, Key: der}, err == nil
}
