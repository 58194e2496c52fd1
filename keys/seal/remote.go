package seal

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"

	"github.com/tink-crypto/tink-go/v2/tink"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

const (
	callTimeout  = 5 * time.Second // of one attempt, unless the URI says otherwise
	callAttempts = 3               // in all, and more than one only while ErrUnavailable
	firstPause   = 100 * time.Millisecond
)

// remote calls a KMS: each attempt has a timeout, and one that failed for a
// passing reason is repeated after a pause that doubles and is half random, so
// that replicas that failed together do not come back together.
type remote struct {
	provider
	timeout time.Duration

	dialing sync.Mutex
	dialled tink.AEADWithContext
}

// Calls counts the calls of KMSs that this process has made, each attempt, by result.
type Calls struct{ Answered, Failed int64 }

var answeredCalls, failedCalls atomic.Int64

// CountCalls returns the calls since the process began. A refusal to open, which is an
// answer, counts as a failure: Keyward asks only for what it expects to open.
func CountCalls() Calls { return Calls{answeredCalls.Load(), failedCalls.Load()} }

// fault is what went wrong in a call.
type fault struct {
	// kind is ErrUnavailable (worth another attempt), ErrCannotOpen, ErrDenied,
	// ErrNoMasterKey, ErrUnfit, or nil for what nobody foresaw.
	kind error
	text string // in the service's words
}

func (r *remote) EncryptWithContext(ctx context.Context, plain, ad []byte) ([]byte, error) {
	out, err := r.callWithRetries(ctx, "KMS encrypt", func(ctx context.Context, a tink.AEADWithContext) ([]byte, error) {
		return a.EncryptWithContext(ctx, plain, ad)
	})
	if errors.Is(err, ErrCannotOpen) { // nothing was to be opened
		err = fmt.Errorf("%w: it takes the request for invalid", ErrUnfit)
	}
	return out, err
}

func (r *remote) DecryptWithContext(ctx context.Context, ciphertext, ad []byte) ([]byte, error) {
	return r.callWithRetries(ctx, "KMS decrypt", func(ctx context.Context, a tink.AEADWithContext) ([]byte, error) {
		return a.DecryptWithContext(ctx, ciphertext, ad)
	})
}

type request func(context.Context, tink.AEADWithContext) ([]byte, error)

func (r *remote) callWithRetries(ctx context.Context, name string, do request) ([]byte, error) {
	for attempt := 1; ; attempt++ {
		out, err := r.traceCall(ctx, name, do)
		if err == nil || !errors.Is(err, ErrUnavailable) || attempt == callAttempts {
			return out, err
		}
		if err := sleepJittered(ctx, firstPause<<(attempt-1)); err != nil {
			return nil, err
		}
	}
}

// traceCall is one attempt, with a span if traces are exported.
func (r *remote) traceCall(ctx context.Context, name string, do request) ([]byte, error) {
	ctx, span := otel.Tracer("keyward/kms").Start(ctx, name, trace.WithSpanKind(trace.SpanKindClient))
	defer span.End()
	out, err := r.callOnce(ctx, do)
	if err != nil {
		span.SetStatus(codes.Error, "failed") // the log has the service's words
	}
	return out, err
}

// injectTrace gives a request the traceparent of its context, if traces are exported.
// Google's client does that by itself.
func injectTrace(ctx context.Context, h http.Header) {
	otel.GetTextMapPropagator().Inject(ctx, propagation.HeaderCarrier(h))
}

// callOnce blames the caller's context before the service: a call that was
// given up says nothing about the key.
func (r *remote) callOnce(ctx context.Context, do request) ([]byte, error) {
	timed, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	a, err := r.client(timed)
	var out []byte
	if err == nil {
		out, err = do(timed, a)
	}
	if err == nil && len(out) > 0 {
		answeredCalls.Add(1)
		return out, nil
	}
	failedCalls.Add(1)
	switch {
	case err == nil:
		return nil, errors.New("the KMS answers with nothing")
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case timed.Err() != nil:
		return nil, fmt.Errorf("%w: no answer within %v", ErrUnavailable, r.timeout)
	}
	return nil, r.classifyError(err).error()
}

// client is dialled at the first call, and again until that has worked.
func (r *remote) client(ctx context.Context) (tink.AEADWithContext, error) {
	r.dialing.Lock()
	defer r.dialing.Unlock()
	if r.dialled != nil {
		return r.dialled, nil
	}
	a, err := r.newClient(ctx)
	if err == nil {
		r.dialled = a
	}
	return a, err
}

func (f fault) error() error {
	switch {
	case errors.Is(f.kind, ErrCannotOpen):
		return ErrCannotOpen
	case f.kind == nil:
		return errors.New("the KMS fails: " + oneLine(f.text))
	}
	return fmt.Errorf("%w: %s", f.kind, oneLine(f.text))
}

// oneLine makes a service's message readable on one line of a log.
func oneLine(text string) string {
	const most = 300
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool {
		return unicode.IsSpace(r) || !unicode.IsPrint(r)
	}), " ")
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}

// sleepJittered waits for half to all of longest, or until ctx ends.
func sleepJittered(ctx context.Context, longest time.Duration) error {
	t := time.NewTimer(longest/2 + rand.N(longest/2)) // #nosec G404 -- jitter
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
