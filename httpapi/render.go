package httpapi

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"
)

// replyZipped is reply for what is large, in gzip for who accepts that (RFC 9110
// section 12.5.3).
func replyZipped(c echo.Context, v any) error {
	h := c.Response().Header()
	h.Add(echo.HeaderVary, echo.HeaderAcceptEncoding)
	q, named := named(parseAccept(c.Request().Header["Accept-Encoding"]), "gzip")
	if !named || q == 0 {
		return reply(c, http.StatusOK, v)
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

// reply answers with a JSON body. Nothing is escaped for HTML: it is none.
func reply(c echo.Context, status int, v any) error {
	body, err := encoded(v)
	if err != nil {
		return err
	}
	return c.Blob(status, echo.MIMEApplicationJSON, body)
}

// encoded is v as JSON, in which "&" stays "&", and a line feed.
func encoded(v any) ([]byte, error) {
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return body.Bytes(), err
}

// ptr is a value that may be absent.
func ptr[T any](v T) *T { return &v }

// given is v, or nil for the zero value, which then is absent from the answer.
func given[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

// or is what p points to, or a default.
func or[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}

func whole(d time.Duration) int64 { return int64(d / time.Second) }

func seconds(n int64) time.Duration { return time.Duration(n) * time.Second }
