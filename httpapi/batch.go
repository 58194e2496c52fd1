package httpapi

import (
	"log/slog"
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"

	"github.com/keyward/keyward/keys"
)

// maxBatch is how many tokens one request may ask for.
const maxBatch = 1000

// SignTokens signs many tokens. An entry that does not even have the form of a
// request fails alone too, so entries are decoded one by one.
func (s *server) SignTokens(c echo.Context, _ TenantPath) error {
	var body struct {
		Tokens []Deferred `json:"tokens"`
	}
	if err := decodeBody(c, &body); err != nil {
		return err
	}
	if n := len(body.Tokens); n < 1 || n > maxBatch {
		return invalid("tokens", "must have between 1 and "+strconv.Itoa(maxBatch)+" items")
	}
	out := SignTokensResult{Results: make([]BatchResult, len(body.Tokens))}
	orders, places := make([]keys.Order, 0, len(body.Tokens)), make([]int, 0, len(body.Tokens))
	for i, raw := range body.Tokens {
		order, err := decodeOrder(raw)
		if err != nil {
			out.Results[i] = s.refusal(c, err)
			continue
		}
		orders, places = append(orders, order), append(places, i)
	}
	signed, err := s.cfg.Signer.SignTokens(c.Request().Context(), of(c).tenantID.String(), orders)
	if err != nil {
		return err
	}
	for i, r := range signed {
		out.Results[places[i]] = s.result(c, r)
	}
	return reply(c, http.StatusOK, out)
}

func decodeOrder(raw Deferred) (keys.Order, error) {
	var r SignTokenRequest
	if err := decodeStrict(raw, &r); err != nil {
		return keys.Order{}, err
	}
	return r.order()
}

func (s *server) result(c echo.Context, r keys.Signed) BatchResult {
	if r.Err != nil {
		return s.refusal(c, r.Err)
	}
	t := r.Token
	return BatchResult{Token: &t.Token, KID: &t.KID, Alg: ptr(Alg(t.Alg)), IssuedAt: &t.IssuedAt, ExpiresAt: &t.ExpiresAt}
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
