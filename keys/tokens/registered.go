package tokens

import (
	"encoding/json"
	"math"
	"strconv"
	"time"
)

// registered checks the claims of RFC 7519 section 4.1 that a caller brings,
// but for exp, which it takes as given. in is what their fields begin with.
func (r Rules) registered(in string, claims map[string]json.RawMessage, exp int64) error {
	for name, raw := range claims {
		var err error
		switch name {
		case "iss":
			err = r.issuer(in+name, raw)
		case "iat":
			err = r.issuedAt(in+name, raw)
		case "nbf":
			err = notBefore(in+name, raw, exp)
		case "sub", "jti":
			if s, ok := text(raw); !ok || s == "" {
				err = Invalid(in+name, "is a string that is not empty")
			}
		case "aud":
			if _, ok := audiences(raw); !ok {
				err = Invalid(in+name, "is a string or an array of strings")
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (r Rules) issuer(field string, raw json.RawMessage) error {
	iss, ok := text(raw)
	if !ok {
		return Invalid(field, "is a string")
	}
	if iss != r.Issuer {
		return Forbidden(field, "is not the tenant's issuer")
	}
	return nil
}

func (r Rules) issuedAt(field string, raw json.RawMessage) error {
	iat, problem := numericDate(raw)
	if problem != "" {
		return Invalid(field, problem)
	}
	if off := iat - r.Now.Unix(); max(off, -off) > int64(r.Skew/time.Second) {
		return Forbidden(field, "is not now")
	}
	return nil
}

func notBefore(field string, raw json.RawMessage, exp int64) error {
	nbf, problem := numericDate(raw)
	if problem != "" {
		return Invalid(field, problem)
	}
	if nbf >= exp {
		return Invalid(field, "is not before exp")
	}
	return nil
}

// maxDate is beyond what seconds will say for 3,000 years and what
// milliseconds have said since 1973.
const maxDate = 1e11

// numericDate reads whole seconds (RFC 7519 section 2), or says what is wrong.
func numericDate(raw json.RawMessage) (seconds int64, problem string) {
	number, err := strconv.ParseFloat(string(raw), 64)
	switch {
	case err != nil || !json.Valid(raw):
		return 0, "is a number of seconds since 1970"
	case number > maxDate:
		return 0, "is in seconds; this looks like milliseconds"
	case number < 0 || number != math.Trunc(number):
		return 0, "is a whole number of seconds since 1970"
	}
	return int64(number), ""
}

func text(raw json.RawMessage) (s string, ok bool) {
	if len(raw) < 2 || raw[0] != '"' {
		return "", false
	}
	s, err := meant(raw)
	return s, err == nil
}

// audiences reads an "aud" (RFC 7519 section 4.1.3).
func audiences(raw json.RawMessage) ([]string, bool) {
	if one, ok := text(raw); ok {
		return []string{one}, true
	}
	var items []json.RawMessage
	if len(raw) == 0 || raw[0] != '[' || json.Unmarshal(raw, &items) != nil {
		return nil, false
	}
	many := make([]string, 0, len(items))
	for _, item := range items {
		one, ok := text(item)
		if !ok {
			return nil, false
		}
		many = append(many, one)
	}
	return many, true
}
