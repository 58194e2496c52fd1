package httpapi

import (
	"bytes"
	"log/slog"
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"

	"github.com/keyward/keyward/keys"
)

// maxBatch is how many tokens one request may ask for.
const maxBatch = 1000

// entry is one token that a request asks for, and what becomes of it.
type entry struct {
	raw    []byte
	order  keys.Order
	plain  bool // read by plainBody
	signed keys.Signed
}

// readBatch reads the entries of a request. One that does not even have the
// form of a request fails alone too.
func readBatch(c echo.Context) ([]entry, error) {
	body, err := readBody(c.Request())
	if err != nil {
		return nil, err
	}
	entries, plain := plainOrders(body)
	if !plain {
		if entries, err = anyOrders(body); err != nil {
			return nil, err
		}
	}
	for i := range entries {
		if e := &entries[i]; !e.plain {
			e.order, e.signed.Err = decodeOrder(e.raw)
		}
	}
	return entries, nil
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

// SignTokens signs many tokens.
func (s *server) SignTokens(c echo.Context, _ TenantPath) error {
	entries, err := readBatch(c)
	if err != nil {
		return err
	}
	orders, asked := make([]keys.Order, 0, len(entries)), make([]*entry, 0, len(entries))
	for i := range entries {
		if e := &entries[i]; e.signed.Err == nil {
			orders, asked = append(orders, e.order), append(asked, e)
		}
	}
	signed, err := s.cfg.Signer.SignTokens(c.Request().Context(), of(c).tenantID.String(), orders)
	if err != nil {
		return err
	}
	for i, e := range asked {
		if e.signed = signed[i]; e.signed.Err != nil {
			e.signed.Err = better(e.plain, e.raw, e.signed.Err)
		}
	}
	return s.replyBatch(c, entries)
}

// replyBatch answers a [SignTokensResult]: for each entry a token, or why
// there is none.
func (s *server) replyBatch(c echo.Context, entries []entry) error {
	out := append(make([]byte, 0, 64+600*len(entries)), `{"results":[`...)
	for i, e := range entries {
		if i > 0 {
			out = append(out, ',')
		}
		if e.signed.Err == nil {
			out = appendToken(out, e.signed.Token)
			continue
		}
		refused, err := encoded(s.refusal(c, e.signed.Err))
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
