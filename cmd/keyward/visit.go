package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// maxFetchBytes is above the limit of any verifier, in bytes.
const maxFetchBytes = 1 << 20

// fetchedPage is a response as a verifier receives it.
type fetchedPage struct {
	url    string
	status int
	header http.Header
	body   []byte
	took   time.Duration
	at     time.Time // time of the response on this machine
	ends   time.Time // the earliest expiry in the certificate chain; zero: no TLS
}

// verifierClient fetches as verifiers do: without a credential and without
// following redirects, since several of them do not.
type verifierClient struct{ http *http.Client }

func newVisitor() *verifierClient {
	return &verifierClient{&http.Client{
		Timeout:       verifierTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// verifierTimeout is the timeout of jose, the shortest of the common verifiers.
const verifierTimeout = 5 * time.Second

func (v *verifierClient) get(ctx context.Context, method, url string, headers ...string) (fetchedPage, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return fetchedPage{}, err
	}
	req.Header.Set("Accept", "application/json, application/jwk-set+json") // as jose and Spring send it
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	began := time.Now()
	res, err := v.http.Do(req)
	if err != nil {
		return fetchedPage{}, err
	}
	defer res.Body.Close()
	p := fetchedPage{url: url, status: res.StatusCode, header: res.Header}
	if p.body, err = io.ReadAll(io.LimitReader(res.Body, maxFetchBytes)); err != nil {
		return fetchedPage{}, err
	}
	p.at, p.took = time.Now(), time.Since(began)
	if res.TLS != nil {
		for _, cert := range res.TLS.PeerCertificates {
			if p.ends.IsZero() || cert.NotAfter.Before(p.ends) {
				p.ends = cert.NotAfter
			}
		}
	}
	return p, nil
}

// unknownSlug returns a random slug without a tenant.
func unknownSlug() string { return "nobody-" + strings.ToLower(rand.Text()[:16]) }

// metadataURLs returns the two locations of an issuer's metadata: appended
// (OpenID Connect Discovery 1.0 section 4) and inserted (RFC 8414 section 3.1).
func metadataURLs(issuer string) (appended, inserted string, err error) {
	u, err := url.Parse(issuer)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.RawQuery != "" || u.Fragment != "" {
		return "", "", fmt.Errorf("the issuer %q is not an http or https URL without query and fragment, so verifiers cannot discover its keys", issuer)
	}
	appended = strings.TrimSuffix(issuer, "/") + "/.well-known/openid-configuration"
	u.Path = "/.well-known/oauth-authorization-server" + strings.TrimSuffix(u.Path, "/")
	return appended, u.String(), nil
}
