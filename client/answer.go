package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// maxAnswer bounds an answer in bytes. The largest are batches of tokens.
const maxAnswer = 16 << 20

// ErrNotKeyward means that an answer does not have the form of Keyward's API: the
// URL leads to something else.
var ErrNotKeyward = errors.New("the server does not answer as Keyward does")

// Decode reads an answer of [Client.Requests] that is JSON, closes it, and
// returns a *Problem for an error status.
func Decode[T any](resp *http.Response, err error) (*T, error) {
	text, err := Bytes(resp, err)
	if err != nil {
		return nil, err
	}
	into := new(T)
	if json.Unmarshal(text, into) != nil { // whose error may quote the text
		return nil, ErrNotKeyward
	}
	return into, nil
}

// Bytes is [Decode] for an answer that is not JSON. The result is empty for 204.
func Bytes(resp *http.Response, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("the answer breaks off: %w", err)
	case len(text) > maxAnswer:
		return nil, fmt.Errorf("the answer is longer than %d bytes", maxAnswer)
	case resp.StatusCode < 200 || resp.StatusCode > 299:
		return nil, problemFrom(resp, text)
	case resp.StatusCode == http.StatusAccepted && strings.Contains(resp.Header.Get("Location"), "/approvals/"):
		return nil, approvalError(text)
	}
	return text, nil
}

// Stream is [Decode] for an answer that is read while it arrives: an export or a
// stream of events. The caller must close it.
func Stream(resp *http.Response, err error) (io.ReadCloser, error) {
	if err == nil && resp.StatusCode == http.StatusOK {
		return resp.Body, nil
	}
	_, err = Bytes(resp, err)
	if err == nil {
		err = ErrNotKeyward
	}
	return nil, err
}
