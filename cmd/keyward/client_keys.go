package main

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"time"

	"github.com/google/uuid"
)

// remoteKey is a key as the admin API shows it.
type remoteKey struct {
	KID       string          `json:"kid"`
	Alg       string          `json:"alg"`
	State     string          `json:"state"`
	Origin    string          `json:"origin"`
	ExpiresAt *time.Time      `json:"expires_at,omitempty"`
	PublicJWK json.RawMessage `json:"public_jwk,omitempty"`
}

type remoteKeys struct {
	Items      []remoteKey `json:"items"`
	NextCursor string      `json:"next_cursor"`
}

// keyImport is the body of keys/import; see the API for what goes with what.
// Key material is PEM in a JSON string, or a JWK.
type keyImport struct {
	PrivateKey json.RawMessage `json:"private_key,omitempty"`
	PublicKey  json.RawMessage `json:"public_key,omitempty"`
	Alg        string          `json:"alg,omitempty"`
	KID        string          `json:"kid,omitempty"`
	Role       string          `json:"role,omitempty"`
	ExpiresAt  *time.Time      `json:"expires_at,omitempty"`
}

// listKeys returns every key of the tenant, purged ones included.
func (c *adminClient) listKeys(ctx context.Context) (all []remoteKey, err error) {
	for path := "/keys?limit=500"; ; {
		var page remoteKeys
		if err := c.do(ctx, http.MethodGet, path, "", nil, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Items...)
		if page.NextCursor == "" {
			return all, nil
		}
		path = "/keys?limit=500&cursor=" + url.QueryEscape(page.NextCursor)
	}
}

// policies returns the algorithms that the tenant signs by.
func (c *adminClient) policies(ctx context.Context) (algs []string, err error) {
	var list struct {
		Items []struct {
			Alg string `json:"alg"`
		} `json:"items"`
	}
	err = c.do(ctx, http.MethodGet, "/policies", "", nil, &list)
	for _, p := range list.Items {
		algs = append(algs, p.Alg)
	}
	return algs, err
}

// importKeys brings in one key, or those of a JWK Set. It is sent again when no
// answer came: the same request twice is one.
func (c *adminClient) importKeys(ctx context.Context, k keyImport) ([]remoteKey, error) {
	var answer struct {
		remoteKey
		remoteKeys
	}
	if err := c.do(ctx, http.MethodPost, "/keys/import", uuid.NewString(), k, &answer); err != nil {
		return nil, err
	}
	if answer.Items == nil {
		return []remoteKey{answer.remoteKey}, nil
	}
	return answer.Items, nil
}
