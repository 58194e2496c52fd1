package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"runtime"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/labstack/echo/v4"

	"github.com/keyward/keyward/keys/moves"
)

// yardstick is the bare server: it answers the set that setURL has, for one path or for
// each of many tenants, and signs and verifies with keys in memory.
type yardstick struct {
	setURL, address, database string
	tenants                   int

	etag, caching string
	set           []byte
}

func (y yardstick) serve() error {
	res, err := http.Get(y.setURL)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if y.set, err = io.ReadAll(res.Body); err != nil {
		return err
	}
	y.etag, y.caching = res.Header.Get("ETag"), res.Header.Get("Cache-Control")
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.GET("/jwks", func(c echo.Context) error { return y.answer(c, y.set) })
	y.serveMany(e)
	if err := y.serveSelects(e); err != nil {
		return err
	}
	if err := y.serveTokens(e); err != nil {
		return err
	}
	e.GET("/runtime", func(c echo.Context) error {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return c.String(http.StatusOK, fmt.Sprintf("%s %d\n%s %d\n", allocatedSample, m.TotalAlloc, collectionSample, m.NumGC))
	})
	return e.Start(y.address)
}

func (y yardstick) answer(c echo.Context, set []byte) error {
	h := c.Response().Header()
	h.Set("ETag", y.etag)
	h.Set("Cache-Control", y.caching)
	if c.Request().Header.Get("If-None-Match") == y.etag {
		return c.NoContent(http.StatusNotModified)
	}
	return c.Blob(http.StatusOK, echo.MIMEApplicationJSON, set)
}

// serveMany answers each tenant's own copy of the set.
func (y yardstick) serveMany(e *echo.Echo) {
	sets := map[string][]byte{}
	for i := range y.tenants {
		sets[moves.Seed{Prefix: seedPrefix}.Slug(i)] = bytes.Clone(y.set)
	}
	e.GET("/t/:tenant/jwks", func(c echo.Context) error {
		set, ok := sets[c.Param("tenant")]
		if !ok {
			return echo.ErrNotFound
		}
		return y.answer(c, set)
	})
}

// serveSelects answers the set that one SELECT finds.
func (y yardstick) serveSelects(e *echo.Echo) error {
	pool, err := pgxpool.New(context.Background(), y.database)
	if err != nil {
		return err
	}
	e.GET("/select/:tenant", func(c echo.Context) error {
		var set []byte
		err := pool.QueryRow(c.Request().Context(), `SELECT json_build_object('keys', json_agg(k.public_jwk)) FROM tenants t JOIN keys k ON k.tenant_id = t.id
			WHERE t.slug = $1 AND t.status <> 'deleted' AND k.state IN ('active', 'standby', 'deprecated')`, c.Param("tenant")).Scan(&set)
		if err != nil {
			return err
		}
		return y.answer(c, set)
	})
	return nil
}

func (y yardstick) serveTokens(e *echo.Echo) error {
	signers, err := newSigners()
	if err != nil {
		return err
	}
	for alg, sign := range signers {
		e.POST("/tokens/"+alg, func(c echo.Context) error { return answerToken(c, alg, sign) })
	}
	e.POST("/batch", func(c echo.Context) error { return answerBatch(c, signers["ES256"]) })
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(y.set, &set); err != nil {
		return err
	}
	publics := map[string]any{}
	for _, k := range set.Keys {
		publics[k.KeyID] = k.Key
	}
	e.POST("/verify", func(c echo.Context) error { return answerVerdict(c, publics) })
	return nil
}

func newSigners() (map[string]func([]byte) ([]byte, error), error) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	return map[string]func([]byte) ([]byte, error){
		"ES256": func(input []byte) ([]byte, error) {
			digest := sha256.Sum256(input)
			r, s, err := ecdsa.Sign(rand.Reader, ec, digest[:])
			if err != nil {
				return nil, err
			}
			signature := make([]byte, 64)
			r.FillBytes(signature[:32])
			s.FillBytes(signature[32:])
			return signature, nil
		},
		"EdDSA": func(input []byte) ([]byte, error) { return ed25519.Sign(ed, input), nil },
	}, err
}

// order asks for one token.
type order struct {
	Claims map[string]any `json:"claims"`
}

// answerToken answers a JWT like Keyward's.
func answerToken(c echo.Context, alg string, sign func([]byte) ([]byte, error)) error {
	var o order
	if err := json.NewDecoder(c.Request().Body).Decode(&o); err != nil {
		return err
	}
	token, err := signToken(o, alg, sign)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, token)
}

// answerBatch answers as many JWTs as are asked for, one after the other: there is one core.
func answerBatch(c echo.Context, sign func([]byte) ([]byte, error)) error {
	var all struct {
		Tokens []order `json:"tokens"`
	}
	if err := json.NewDecoder(c.Request().Body).Decode(&all); err != nil {
		return err
	}
	tokens := make([]map[string]any, len(all.Tokens))
	for i, o := range all.Tokens {
		var err error
		if tokens[i], err = signToken(o, "ES256", sign); err != nil {
			return err
		}
	}
	return c.JSON(http.StatusOK, map[string]any{"results": tokens})
}

func signToken(o order, alg string, sign func([]byte) ([]byte, error)) (map[string]any, error) {
	now := time.Now().Truncate(time.Second)
	o.Claims["iss"], o.Claims["iat"], o.Claims["exp"] = "https://issuer.example", now.Unix(), now.Unix()+900
	o.Claims["jti"] = uuid.NewString()
	payload, err := json.Marshal(o.Claims)
	if err != nil {
		return nil, err
	}
	const kid = "0123456789012345678901234567890123456789012"
	token := base64.RawURLEncoding.AppendEncode(nil, []byte(`{"alg":"`+alg+`","kid":"`+kid+`","typ":"JWT"}`))
	token = base64.RawURLEncoding.AppendEncode(append(token, '.'), payload)
	signature, err := sign(token)
	if err != nil {
		return nil, err
	}
	token = base64.RawURLEncoding.AppendEncode(append(token, '.'), signature)
	return map[string]any{"token": string(token), "kid": kid, "alg": alg, "issued_at": now.UTC(), "expires_at": now.Add(15 * time.Minute).UTC()}, nil
}

// answerVerdict verifies a JWT by the key that it names.
func answerVerdict(c echo.Context, publics map[string]any) error {
	var q struct {
		Token string `json:"token"`
	}
	if err := json.NewDecoder(c.Request().Body).Decode(&q); err != nil {
		return err
	}
	parts := strings.Split(q.Token, ".")
	if len(parts) != 3 {
		return echo.ErrBadRequest
	}
	var raw [3][]byte
	for i, part := range parts {
		var err error
		if raw[i], err = base64.RawURLEncoding.DecodeString(part); err != nil {
			return err
		}
	}
	var header struct{ Kid string }
	var claims struct{ Exp int64 }
	if err := errors.Join(json.Unmarshal(raw[0], &header), json.Unmarshal(raw[1], &claims)); err != nil {
		return err
	}
	valid, input := false, q.Token[:len(parts[0])+1+len(parts[1])]
	switch public := publics[header.Kid].(type) {
	case *ecdsa.PublicKey:
		digest := sha256.Sum256([]byte(input))
		valid = len(raw[2]) == 64 && ecdsa.Verify(public, digest[:], new(big.Int).SetBytes(raw[2][:32]), new(big.Int).SetBytes(raw[2][32:]))
	case ed25519.PublicKey:
		valid = ed25519.Verify(public, []byte(input), raw[2])
	}
	valid = valid && time.Now().Unix() < claims.Exp
	return c.JSON(http.StatusOK, map[string]any{"valid": valid, "header": json.RawMessage(raw[0]), "claims": json.RawMessage(raw[1]), "kid": header.Kid})
}
