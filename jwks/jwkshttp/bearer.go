package jwkshttp

import (
	"errors"
	"net/http"
	"strings"
)

var (
	// ErrNoToken means that a request has no token.
	ErrNoToken = errors.New("jwkshttp: no token")
	// ErrRequest means that the field that should have the token is malformed.
	ErrRequest = errors.New("jwkshttp: the Authorization field is not that of RFC 6750")
)

// Bearer returns the token in the field Authorization (RFC 6750 section 2.1).
// Schemes other than Bearer count as no token.
func Bearer(r *http.Request) (string, error) {
	fields := r.Header.Values("Authorization")
	if len(fields) > 1 {
		return "", ErrRequest
	}
	return ParseBearer(r.Header.Get("Authorization"))
}

// ParseBearer returns the token in the value of an Authorization field, for servers
// that do not use net/http.
func ParseBearer(field string) (string, error) {
	scheme, token, _ := strings.Cut(field, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return "", nil
	}
	token = strings.Trim(token, " ")
	if token == "" || strings.ContainsAny(token, " ,\t\"") {
		return "", ErrRequest
	}
	return token, nil
}

// Cookie returns a finder of the token in a cookie.
func Cookie(name string) func(*http.Request) (string, error) {
	return func(r *http.Request) (string, error) {
		cookie, err := r.Cookie(name)
		if err != nil {
			return "", nil
		}
		return cookie.Value, nil
	}
}

// Header returns a finder of the token in a field of that name, with or without
// "Bearer".
func Header(name string) func(*http.Request) (string, error) {
	return func(r *http.Request) (string, error) {
		value := strings.TrimSpace(r.Header.Get(name))
		if token, err := ParseBearer(value); token != "" || err != nil {
			return token, err
		}
		return value, nil
	}
}

// First returns a finder that uses the first of several finders that has a result.
func First(ways ...func(*http.Request) (string, error)) func(*http.Request) (string, error) {
	return func(r *http.Request) (string, error) {
		for _, find := range ways {
			if token, err := find(r); token != "" || err != nil {
				return token, err
			}
		}
		return "", nil
	}
}
