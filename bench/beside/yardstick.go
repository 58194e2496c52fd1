package main

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"
)

// serveYardstick is the bare server: it answers the set that setURL has, and signs the
// claims it gets with a key in memory.
func serveYardstick(setURL, address string) error {
	res, err := http.Get(setURL)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	set, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	etag, caching := res.Header.Get("ETag"), res.Header.Get("Cache-Control")
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.GET("/jwks", func(c echo.Context) error {
		h := c.Response().Header()
		h.Set("ETag", etag)
		h.Set("Cache-Control", caching)
		if c.Request().Header.Get("If-None-Match") == etag {
			return c.NoContent(http.StatusNotModified)
		}
		return c.Blob(http.StatusOK, echo.MIMEApplicationJSON, set)
	})
	signers, err := newSigners()
	if err != nil {
		return err
	}
	for alg, sign := range signers {
		e.POST("/tokens/"+alg, func(c echo.Context) error { return answerToken(c, alg, sign) })
	}
	e.GET("/runtime", func(c echo.Context) error {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return c.String(http.StatusOK, fmt.Sprintf("%s %d\n%s %d\n", allocatedSample, m.TotalAlloc, collectionSample, m.NumGC))
	})
	return e.Start(address)
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

// answerToken answers a JWT like Keyward's.
func answerToken(c echo.Context, alg string, sign func([]byte) ([]byte, error)) error {
	var order struct {
		Claims map[string]any `json:"claims"`
	}
	if err := json.NewDecoder(c.Request().Body).Decode(&order); err != nil {
		return err
	}
	now := time.Now().Truncate(time.Second)
	order.Claims["iss"], order.Claims["iat"], order.Claims["exp"] = "https://issuer.example", now.Unix(), now.Unix()+900
	order.Claims["jti"] = uuid.NewString()
	payload, err := json.Marshal(order.Claims)
	if err != nil {
		return err
	}
	token := base64.RawURLEncoding.AppendEncode(nil, []byte(`{"alg":"`+alg+`","kid":"0123456789012345678901234567890123456789012","typ":"JWT"}`))
	token = base64.RawURLEncoding.AppendEncode(append(token, '.'), payload)
	signature, err := sign(token)
	if err != nil {
		return err
	}
	token = base64.RawURLEncoding.AppendEncode(append(token, '.'), signature)
	return c.JSON(http.StatusOK, map[string]any{
		"token": string(token), "kid": "0123456789012345678901234567890123456789012", "alg": alg,
		"issued_at": now.UTC(), "expires_at": now.Add(15 * time.Minute).UTC(),
	})
}
