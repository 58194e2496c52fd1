package jwkshttp

import (
	"errors"
	"net/http"
	"strings"
)

var (
	// ErrNoToken is a request without a token.
	ErrNoToken = errors.New("jwkshttp: no token")
	// ErrRequest is a request whose token cannot be found for being written
	// wrongly.
	ErrRequest = errors.New("jwkshttp: the Authorization field is not that of RFC 6750")
)

// Bearer finds the token in the field Authorization (RFC 6750 section 2.1).
// Another scheme than Bearer is no token.
func Bearer(r *http.Request) (string, error) {
	fields := r.Header.Values("Authorization")
	if len(fields) > 1 {
		return "", ErrRequest
	}
	return ParseBearer(r.Header.Get("Authorization"))
}

// ParseBearer finds the token in the value of an Authorization field, for
// servers that are not of net/http.
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

// Cookie finds the token in a cookie.
func Cookie(name string) func(*http.Request) (string, error) {
	return func(r *http.Request) (string, error) {
		cookie, err := r.Cookie(name)
		if err != nil {
			return "", nil
		}
		return cookie.Value, nil
	}
}

// Header finds the token in a field of its own, with or without "Bearer".
func Header(name string) func(*http.Request) (string, error) {
	return func(r *http.Request) (string, error) {
		value := strings.TrimSpace(r.Header.Get(name))
		if token, err := ParseBearer(value); token != "" || err != nil {
			return token, err
		}
		return value, nil
	}
}

// First finds the token by the first of several ways that finds one.
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
