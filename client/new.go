package client

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/keyward/keyward/internal/loopback"
)

// What [New] refuses.
var (
	ErrBadURL   = errors.New("the URL of Keyward must be an absolute http or https URL without user, query and fragment")
	ErrInsecure = errors.New("http to another machine exposes the credential to the network; use https")
	ErrNoAPIKey = errors.New("no API key is given")
)

// Client speaks to one Keyward with one credential. It may be used by many
// goroutines at once.
type Client struct {
	// Requests are the operations with their plain answers; see [Decode],
	// [Bytes] and [Stream].
	Requests *Requests
}

// An Option changes what [New] makes.
type Option func(*sender)

// HTTPClient sends requests with the caller's own client, for a proxy or a client
// certificate. It is copied; redirects are not followed here either.
func HTTPClient(c *http.Client) Option { return func(s *sender) { s.http = *c } }

// AllowHTTP permits plain http to another machine.
func AllowHTTP() Option { return func(s *sender) { s.insecure = true } }

// UserAgent sets the User-Agent, which the server's logs show.
func UserAgent(name string) Option { return func(s *sender) { s.agent = name } }

// FixedIdempotencyKey sends the same key with every change, in place of one for each:
// for a client that makes a single change. See [Once].
func FixedIdempotencyKey(key string) Option { return func(s *sender) { s.once = key } }

// Retries sets how often a failed request is sent again; the default is 3. With 0 a
// change is sent without an Idempotency-Key, unless [Once] gives it one.
func Retries(n int) Option { return func(s *sender) { s.retries = n } }

// New returns a client of the Keyward at a URL, such as https://keys.example.com.
// It does not connect.
func New(at, apiKey string, options ...Option) (*Client, error) {
	s := &sender{
		key: apiKey, agent: "keyward-go", retries: 3, sleep: sleepFor,
		http: http.Client{Transport: http.DefaultTransport},
	}
	for _, option := range options {
		option(s)
	}
	s.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	if err := s.checkConfig(at); err != nil {
		return nil, err
	}
	requests, err := NewClient(strings.TrimRight(at, "/"), WithHTTPClient(s))
	if err != nil {
		return nil, ErrBadURL
	}
	return &Client{Requests: requests}, nil
}

func (s *sender) checkConfig(at string) error {
	u, err := url.Parse(at)
	if err != nil || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Scheme != "http" && u.Scheme != "https" {
		return ErrBadURL
	}
	if u.Scheme == "http" && !loopback.IsHost(u.Hostname()) && !s.insecure {
		return ErrInsecure
	}
	if s.key == "" {
		return ErrNoAPIKey
	}
	return nil
}

// sleepFor waits for d, or returns the error of ctx when it is done earlier.
func sleepFor(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
