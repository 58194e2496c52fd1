package httpapi

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/keyward/keyward/tenant"
)

const (
	problemJSON = "application/problem+json" // RFC 9457 section 3
	answeredKey = "keyward.answered"         // set once an error was answered
	retryLater  = 5 * time.Second            // Retry-After where nothing better is known
)

// ErrorHandler answers every error with a problem (RFC 9457). What the server
// is to blame for is logged, once, with the request id; what the client is to
// blame for is not.
func ErrorHandler(log *slog.Logger) echo.HTTPErrorHandler {
	return func(err error, c echo.Context) {
		if c.Get(answeredKey) != nil { // a middleware asked for the answer before
			return
		}
		c.Set(answeredKey, true)
		p, known := problemOf(err)
		if !known || p.Status >= http.StatusInternalServerError {
			logFailure(log, c, err, p)
		}
		if c.Response().Committed {
			return
		}
		problemHeaders(c.Response().Header(), err, p)
		if err := writeProblem(c, p); err != nil {
			log.DebugContext(c.Request().Context(), "answer not written", "error", err)
		}
	}
}

// logFailure says which request failed and why. The path is the route's, so
// that a client cannot write into the log.
func logFailure(log *slog.Logger, c echo.Context, err error, p *Problem) {
	level := slog.LevelError
	switch {
	case errors.Is(err, context.Canceled): // the client left
		level = slog.LevelDebug
	case p.Code == ProblemCodeUnavailable:
		level = slog.LevelWarn
	}
	log.LogAttrs(c.Request().Context(), level, "request failed",
		slog.String("request_id", c.Response().Header().Get(echo.HeaderXRequestID)),
		slog.String("method", c.Request().Method),
		slog.String("route", c.Path()),
		slog.String("code", string(p.Code)),
		slog.Any("error", err))
}

// problemHeaders sets what a status asks for beside the body. Errors of the
// server are never cached, those of a client only if a handler said so.
func problemHeaders(h http.Header, err error, p *Problem) {
	if p.Status >= http.StatusInternalServerError || h.Get(echo.HeaderCacheControl) == "" {
		h.Set(echo.HeaderCacheControl, "no-store")
	}
	h.Del("ETag")
	h.Del(echo.HeaderLastModified)
	switch p.Code {
	case ProblemCodeUnauthenticated, ProblemCodeForbidden:
		h.Set(echo.HeaderWWWAuthenticate, challenge(err, p.Code))
	case ProblemCodeRateLimited, ProblemCodeUnavailable:
		if h.Get(echo.HeaderRetryAfter) == "" {
			h.Set(echo.HeaderRetryAfter, retryAfter(err))
		}
	}
}

// challenge is RFC 6750 section 3: no error attribute for a request without a
// credential.
func challenge(err error, code ProblemCode) string {
	const realm = `Bearer realm="keyward"`
	switch {
	case code == ProblemCodeForbidden:
		return realm + `, error="insufficient_scope"`
	case errors.Is(err, tenant.ErrUnauthenticated):
		return realm + `, error="invalid_token"`
	default:
		return realm
	}
}

// retryAfter is in whole seconds, rounded up (RFC 9110 section 10.2.3).
func retryAfter(err error) string {
	wait := retryLater
	var limited *rateLimitedError
	if errors.As(err, &limited) {
		wait = max(limited.retryAfter, time.Second)
	}
	return strconv.Itoa(int(math.Ceil(wait.Seconds())))
}

func writeProblem(c echo.Context, p *Problem) error {
	body, err := encoded(p)
	if err != nil {
		return err
	}
	if c.Request().Method == http.MethodHead {
		c.Response().Header().Set(echo.HeaderContentType, problemJSON)
		return c.NoContent(p.Status)
	}
	return c.Blob(p.Status, problemJSON, body)
}
