package httpapi

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/oapi-codegen/nullable"
)

// replyZipped is replyJSON for large answers, compressed with gzip if the
// client accepts that (RFC 9110 section 12.5.3).
func replyZipped(c echo.Context, v any) error {
	h := c.Response().Header()
	h.Add(echo.HeaderVary, echo.HeaderAcceptEncoding)
	q, named := namedQuality(parseAccept(c.Request().Header["Accept-Encoding"]), "gzip")
	if !named || q == 0 {
		return replyJSON(c, http.StatusOK, v)
	}
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	h.Set(echo.HeaderContentEncoding, "gzip")
	h.Set(echo.HeaderContentType, echo.MIMEApplicationJSON)
	c.Response().WriteHeader(http.StatusOK)
	zip := gzip.NewWriter(c.Response())
	if _, err := zip.Write(body); err != nil {
		return err
	}
	return zip.Close()
}

// replyJSON answers with a JSON body. It does not escape for HTML.
func replyJSON(c echo.Context, status int, v any) error {
	body, err := encodeJSON(v)
	if err != nil {
		return err
	}
	return c.Blob(status, echo.MIMEApplicationJSON, body)
}

// encodeJSON encodes v without escaping for HTML, followed by a line feed.
func encodeJSON(v any) ([]byte, error) {
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return body.Bytes(), err
}

// nonZero returns a pointer to v, or nil for the zero value, which is then
// absent from the answer.
func nonZero[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

// nullableOf returns *p, or null if p is nil.
func nullableOf[T any](p *T) nullable.Nullable[T] {
	if p == nil {
		return nullable.NewNullNullable[T]()
	}
	return nullable.NewNullableWithValue(*p)
}

// valueOr returns *p, or the default if p is nil.
func valueOr[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}

func wholeSeconds(d time.Duration) int64 { return int64(d / time.Second) }

func secondsToDuration(n int64) time.Duration { return time.Duration(n) * time.Second }
