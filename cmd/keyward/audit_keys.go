package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/keyward/keyward/client"
	"github.com/keyward/keyward/tenant"
)

// loadKeys returns the JWK Set to verify a checkpoint with: that of --jwks, or
// the server's key history, in which revoked keys are marked.
func (c *auditVerifyCmd) loadKeys(ctx context.Context, api *client.Client) (set []byte, err error) {
	if c.JWKS != "" {
		set, err = readKeySet(ctx, c.JWKS)
	} else {
		set, err = client.Bytes(api.Requests.GetJWKSHistory(ctx, tenant.PlatformSlug, nil, client.Accept("application/jwk-set+jwt")))
	}
	if history, is := payloadOf(set); is {
		set = history
	}
	return set, err
}

// payloadOf returns the payload of a compact JWS, and whether the text is one.
func payloadOf(jws []byte) (payload []byte, is bool) {
	parts := bytes.Split(bytes.TrimSpace(jws), []byte("."))
	if len(parts) != 3 || bytes.HasPrefix(parts[0], []byte("{")) {
		return nil, false
	}
	payload, err := base64.RawURLEncoding.DecodeString(string(parts[1]))
	return payload, err == nil
}

// keysURL returns the URL of the platform's JWK Set below a base URL.
func keysURL(at string) string {
	return strings.TrimRight(at, "/") + "/t/" + tenant.PlatformSlug + "/.well-known/jwks.json"
}

// sameOrigin reports whether two URLs have the same host.
func sameOrigin(a, b string) bool {
	u, bad := url.Parse(a)
	v, worse := url.Parse(b)
	return bad == nil && worse == nil && u.Host != "" && strings.EqualFold(u.Host, v.Host)
}

const maxKeySetBytes = 1 << 20 // bytes

// readKeySet reads a JWK Set or a key history from a file, a URL or a place of
// KEYWARD_CHECKPOINTS.
func readKeySet(ctx context.Context, from string) ([]byte, error) {
	if isArchived(from) {
		file, remove, err := localCopy(ctx, from)
		if err != nil {
			return nil, err
		}
		defer remove()
		from = file.path
	}
	if !strings.HasPrefix(from, "https://") && !strings.HasPrefix(from, "http://") {
		return os.ReadFile(from)
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return nil, &usageError{"--jwks must be a file or a URL"}
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, fmt.Errorf("cannot fetch the keys: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("cannot fetch the keys: %s answers %s", r.URL.Host, resp.Status)
	}
	return io.ReadAll(io.LimitReader(resp.Body, maxKeySetBytes))
}
