package main

import (
	"encoding/json"
	"errors"
	"io"
	"net/url"
	"slices"

	"github.com/keyward/keyward/client"
	"github.com/keyward/keyward/db"
)

// localProblem is the problem document (RFC 9457) of an error without an API
// answer. It has no status, since there was no HTTP response.
type localProblem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Detail string `json:"detail"`
	Code   string `json:"code"` // usage, unavailable or failed

	Outcome        client.Outcome `json:"outcome,omitempty"` // of a change
	IdempotencyKey string         `json:"idempotency_key,omitempty"`
}

// answeredProblem is a problem of the API, with the key to repeat the change with if its
// outcome is unknown.
type answeredProblem struct {
	*client.Problem
	IdempotencyKey string `json:"idempotency_key,omitempty"`
}

// wantsJSON reports whether the arguments have --json. It reads them itself,
// because the parser may have rejected them.
func wantsJSON(args []string) bool {
	if i := slices.Index(args, "--"); i >= 0 {
		args = args[:i]
	}
	return slices.Contains(args, "--json") || slices.Contains(args, "--json=true")
}

// writeProblem writes an error as one line of JSON: the API's own problem
// document if it answered with one.
func writeProblem(w io.Writer, err error) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	if p := (*client.Problem)(nil); errors.As(err, &p) {
		return enc.Encode(answeredProblem{p, changeKey(err)})
	}
	doc := localProblem{Type: "about:blank", Title: "The command failed", Detail: errorText(err), Code: "failed"}
	usage, unreachable := (*usageError)(nil), (*url.Error)(nil)
	switch {
	case errors.As(err, &usage):
		doc.Title, doc.Code = "Wrong usage", "usage"
	case errors.As(err, &unreachable), errors.Is(err, db.ErrUnavailable):
		doc.Title, doc.Code = "The service cannot be reached", "unavailable"
	}
	if doc.IdempotencyKey = changeKey(err); doc.IdempotencyKey != "" {
		doc.Outcome = client.OutcomeUnknown
	}
	return enc.Encode(doc)
}
