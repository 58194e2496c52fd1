package jwks_test

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/keyward/keyward/jwks"
)

var errRefused = errors.New("refused")

func refuse(context.Context, *jwks.Token) error { return errRefused }

func base64URL(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// payloadOf returns the payload of a JWS.
func payloadOf(jws string) []byte {
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(jws, ".")[1])
	if err != nil {
		panic(err)
	}
	return payload
}

// tampered returns a JWS with the payload of another one.
func tampered(jws, other string) string {
	parts := strings.Split(jws, ".")
	return parts[0] + "." + strings.Split(other, ".")[1] + "." + parts[2]
}

func answerWith(r *http.Request, body string) *http.Response {
	w := httptest.NewRecorder()
	_, _ = w.WriteString(body)
	response := w.Result()
	response.Request = r
	return response
}
