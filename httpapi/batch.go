package httpapi

import (
	"bytes"
	"log/slog"
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"

	"github.com/keyward/keyward/keys/signing"
)

// maxBatch is how many tokens one request may ask for.
const maxBatch = 1000

// entry is one token that a request asks for, and what becomes of it.
type entry struct {
	raw   []byte
	plain bool   // in a body that is plain; in the end: itself plain
	token []byte // a [SignedToken]
	err   error
}

// readBatch reads what a request asks for. What the entries say is read as they
// are signed, so one that does not even have the form of a request fails alone too.
func readBatch(c echo.Context) ([]entry, error) {
	body, err := readBody(c.Request())
	if err != nil {
		return nil, err
	}
	if entries, plain := plainOrders(body); plain {
		return entries, nil
	}
	return anyOrders(body)
}

// anyOrders takes any body apart, and says what is wrong with it.
func anyOrders(body []byte) ([]entry, error) {
	var all struct {
		Tokens []Deferred `json:"tokens"`
	}
	if len(body) == 0 {
		return nil, errNoBody()
	}
	if err := decodeStrict(body, &all); err != nil {
		return nil, err
	}
	if n := len(all.Tokens); n < 1 || n > maxBatch {
		return nil, invalid("tokens", "must have between 1 and "+strconv.Itoa(maxBatch)+" items")
	}
	entries := make([]entry, len(all.Tokens))
	for i, raw := range all.Tokens {
		entries[i].raw = raw
	}
	return entries, nil
}

// SignTokens signs many tokens. Each is read, signed and written by one core, so
// that no core waits while another one reads or writes all of them.
func (s *server) SignTokens(c echo.Context, _ TenantPath) error {
	entries, err := readBatch(c)
	if err != nil {
		return err
	}
	err = s.cfg.Signer.SignTokens(c.Request().Context(), of(c).tenantID.String(), len(entries),
		func(i int, sign signing.SignFunc) { entries[i].fill(sign) })
	if err != nil {
		return err
	}
	return s.replyBatch(c, entries)
}

// fill reads and signs the entry. Nobody else would catch its panic.
func (e *entry) fill(sign signing.SignFunc) {
	defer rescue(&e.err)
	var order signing.Order
	if e.plain {
		order, e.plain = (&plainBody{data: e.raw}).order()
	}
	e.token, e.err = signOrder(e.raw, order, e.plain, sign)
}

// replyBatch answers a [SignTokensResult]: for each entry a token, or why
// there is none.
func (s *server) replyBatch(c echo.Context, entries []entry) error {
	size := 64
	for _, e := range entries {
		size += len(e.token) + 1
	}
	out := append(make([]byte, 0, size), `{"results":[`...)
	for i, e := range entries {
		if i > 0 {
			out = append(out, ',')
		}
		if e.err == nil {
			out = append(out, e.token...)
			continue
		}
		refused, err := encoded(s.refusal(c, e.err))
		if err != nil {
			return err
		}
		out = append(out, bytes.TrimSuffix(refused, []byte("\n"))...)
	}
	return c.Blob(http.StatusOK, echo.MIMEApplicationJSON, append(out, "]}\n"...))
}

// refusal is an entry's own problem. What the server is to blame for is logged
// as it would be alone.
func (s *server) refusal(c echo.Context, err error) BatchResult {
	p, known := problemOf(err)
	if !known || p.Status >= http.StatusInternalServerError {
		logFailure(s.cfg.Log.With(slog.Bool("in_batch", true)), c, err, p)
	}
	return BatchResult{Error: p}
}
