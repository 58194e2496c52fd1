package httpapi

import (
	"crypto/rand"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"
)

// edge is what every request goes through, also those for a JWKS: it gets an
// id, its panics and errors become problems, and it is counted. The chain is
// built once, at registration.
func (s *server) edge(operation string, next echo.HandlerFunc) echo.HandlerFunc {
	count := s.metrics.of(operation)
	next = s.limited(operation, next)
	return func(c echo.Context) error {
		start := sinceStart()
		s.ids.set(c)
		if err := guarded(next, c); err != nil {
			s.handleError(err, c)
		}
		took := sinceStart() - start
		count.observe(c.Response().Status, took)
		if s.cfg.Log.Enabled(c.Request().Context(), slog.LevelDebug) {
			s.access(c, operation, took)
		}
		return nil
	}
}

// sinceStart is a clock that only moves on, for durations: it costs half of what
// time.Now does, which asks for the day too.
func sinceStart() time.Duration { return time.Since(started) }

var started = time.Now()

// panicError carries what a handler panicked with to the log, and no further.
type panicError struct {
	value any
	stack []byte
}

// Error tells a text or an error that was panicked with. Of any other value,
// which may hold anything, it tells the type; the stack has addresses, no values
// behind them.
func (e *panicError) Error() string {
	switch e.value.(type) {
	case error, string:
		return fmt.Sprintf("httpapi: panic: %v\n%s", e.value, e.stack)
	}
	return fmt.Sprintf("httpapi: panic: a %T\n%s", e.value, e.stack)
}

func guarded(next echo.HandlerFunc, c echo.Context) (err error) {
	defer rescue(&err)
	return next(c)
}

// rescue, deferred, makes an error of a panic.
func rescue(err *error) {
	switch v := recover(); v {
	case nil:
	case http.ErrAbortHandler: // net/http's own way to hang up
		panic(v)
	default:
		*err = &panicError{v, debug.Stack()}
	}
}

// access logs a request. The route is logged, not the path, so that a client
// cannot write into the log.
func (s *server) access(c echo.Context, operation string, took time.Duration) {
	s.cfg.Log.LogAttrs(c.Request().Context(), slog.LevelDebug, "request",
		slog.String("request_id", c.Response().Header().Get(echo.HeaderXRequestID)),
		slog.String("method", c.Request().Method),
		slog.String("route", c.Path()),
		slog.String("operation", operation),
		slog.Int("status", c.Response().Status),
		slog.Int64("bytes", c.Response().Size),
		slog.Duration("took", took),
		slog.String("client", s.clients.address(c.Request())))
}

// requestIDs makes ids that are unique, also across processes, and no secret.
type requestIDs struct {
	process string
	count   *atomic.Uint64
}

func newRequestIDs() requestIDs { return requestIDs{rand.Text()[:13] + "-", new(atomic.Uint64)} }

// set gives the answer the client's id if that is one, else a new one.
func (ids requestIDs) set(c echo.Context) {
	if given := c.Request().Header["X-Request-Id"]; len(given) == 1 && isRequestID(given[0]) {
		c.Response().Header()["X-Request-Id"] = given
		return
	}
	var buf [32]byte
	id := strconv.AppendUint(append(buf[:0], ids.process...), ids.count.Add(1), 32)
	c.Response().Header()["X-Request-Id"] = []string{string(id)}
}

// isRequestID is ^[A-Za-z0-9._-]{1,64}$: safe in a header, a log and a row.
func isRequestID(id string) bool {
	if len(id) == 0 || len(id) > 64 {
		return false
	}
	for i := range len(id) {
		switch b := id[i]; {
		case b >= 'a' && b <= 'z', b >= 'A' && b <= 'Z', b >= '0' && b <= '9', b == '.', b == '_', b == '-':
		default:
			return false
		}
	}
	return true
}
