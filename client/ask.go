package client

import (
	"context"
	"crypto/rand"
	"net/http"
	"time"
)

// Accept asks for an answer of another media type.
func Accept(mediaType string) RequestEditorFn { return header("Accept", mediaType) }

// Once makes a request that creates something safe to send again: the server
// keeps the first answer for a day. Retries of the package use the same key.
// Give a key of your own to go on after your process was restarted.
func Once(key string) RequestEditorFn { return header("Idempotency-Key", key) }

// NewKey is a key for [Once].
func NewKey() string { return rand.Text() }

// Patiently gives an answer so long to come, in place of 30 seconds: some cost
// the server work in proportion to what it has. It is not asked for again by
// itself.
func Patiently(most time.Duration) RequestEditorFn {
	return func(_ context.Context, req *http.Request) error {
		*req = *req.WithContext(context.WithValue(req.Context(), patienceKey{}, most))
		return nil
	}
}

type patienceKey struct{}

// patience is what a request was given by [Patiently], else 0.
func patience(req *http.Request) time.Duration {
	d, _ := req.Context().Value(patienceKey{}).(time.Duration)
	return d
}

func header(name, value string) RequestEditorFn {
	return func(_ context.Context, req *http.Request) error {
		req.Header.Set(name, value)
		return nil
	}
}

// Certified has the deletion of a tenant answer its certificate.
func Certified() RequestEditorFn { return header("Prefer", "return=representation") }
