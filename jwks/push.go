package jwks

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"
)

// A Push says where [Client.Subscribe] gets events, and how.
type Push struct {
	// URL of the event stream of the tenant whose keys the client has, such as
	// https://keys.example.com/v1/tenants/acme/key-events.
	URL string
	// Token returns an API key with the role tenant_verifier, for the header
	// Authorization. It is called for each connection, so that a key can be replaced;
	// nil is none. The key is neither kept nor logged.
	Token func(context.Context) (string, error)
	// Header is added to each request, such as User-Agent.
	Header http.Header
	// HTTPClient has the settings for TLS, client certificates and proxies; nil is
	// that of the client. Its Timeout is ignored, and redirects are not followed.
	HTTPClient *http.Client
	// Silence is the time without a byte after which the stream counts as lost; 0 is
	// 45 seconds. Keyward sends a heartbeat at least every 15.
	Silence time.Duration
}

// Subscribe receives the events of the tenant whose keys the client has, until ctx
// is done or the client is closed, and returns the reason. A Push that cannot work is
// an [ErrArgument] at once. Call it in a goroutine:
//
//	go client.Subscribe(ctx, push)
//
// A revoked key verifies nothing from the moment its event arrives. Its kid
// stays refused by this client whatever set is fetched later, as caches on the
// way may have older ones and a revocation is final. Each change of a key or of
// the tenant causes a fetch of the set, as does a connection that could not resume
// at the position of the last one.
//
// A lost stream is opened again after a while, without end. The client works without
// it as it did before: removed keys leave with the next fetched set. Stats report
// whether there is a stream.
func (c *Client) Subscribe(ctx context.Context, push Push) error {
	s, err := c.subscription(push)
	if err != nil {
		return err
	}
	var fetching sync.WaitGroup
	defer fetching.Wait()
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	defer context.AfterFunc(c.life, func() { end(ErrClosed) })()
	fetching.Go(func() { s.follow(ctx) })
	s.listen(ctx)
	return context.Cause(ctx)
}

// A subscription is a call of Subscribe.
type subscription struct {
	client   *Client
	push     Push
	web      http.Client
	news     chan struct{} // of one: a set fetched before it was put in is old
	last     string        // the id of the last event; "" to begin with now
	retry    time.Duration // what the stream asks for between two connections
	failures int           // in a row
}

func (c *Client) subscription(push Push) (*subscription, error) {
	if err := c.config.checkURL(push.URL); err != nil {
		return nil, argumentError("Push.URL: %w", err)
	}
	if push.Silence < 0 {
		return nil, argumentError("Push.Silence is negative")
	}
	push.Silence = cmp.Or(push.Silence, 45*time.Second)
	push.Header = push.Header.Clone()
	s := &subscription{client: c, push: push, web: *cmp.Or(push.HTTPClient, c.config.HTTPClient), news: make(chan struct{}, 1)}
	s.web.Timeout = 0
	s.web.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return s, nil
}

// listen keeps a stream open until ctx is done.
func (s *subscription) listen(ctx context.Context) {
	const settled = 10 * time.Second // a stream that lasts so long was none that failed
	for ctx.Err() == nil {
		began := time.Now()
		err := catchExit(func() error { return s.connect(ctx) })
		if time.Since(began) >= settled {
			s.failures = 0
		}
		wait := reconnectDelay(s.retry, s.failures, err)
		s.failures++
		if ctx.Err() == nil {
			_ = catchExit(func() error {
				s.client.config.Logger.Warn("The event stream is lost", slog.Any("error", err), slog.Duration("retry_after", wait))
				return nil
			})
		}
		sleepFor(ctx, wait)
	}
}
