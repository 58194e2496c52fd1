package tokens

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/keyward/keyward/internal/strictjson"
)

// registered are the registered claims (RFC 7519 section 4.1). A JSON object with one
// of them is a token to most verifiers, whatever its typ.
var registered = [...]string{"iss", "sub", "aud", "exp", "nbf", "iat", "jti"}

// CheckPayload applies the rules of tokens to a payload that a verifier may accept as
// a token: a JSON object with a registered claim, or any JSON object under a typ of
// tokens or none. What lenient parsers read as such an object, but is no JSON, is
// refused. An unencoded payload is also checked as what it would be to a verifier that
// ignores crit (RFC 7797 section 6). It returns the exp, which a token must have, or
// nil for a payload that is no token. Errors: *[ClaimError].
func (r Rules) CheckPayload(payload []byte, typ string, f Form) (*time.Time, error) {
	exp, err := r.checkPayload(payload, typ)
	if err != nil || !f.Unencoded {
		return exp, err
	}
	encoded := strings.NewReplacer("+", "-", "/", "_", "=", "").Replace(string(payload))
	decoded, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil {
		return exp, nil
	}
	if inner, err := r.checkPayload(decoded, typ); err != nil || exp == nil {
		return inner, err
	}
	return exp, nil
}

func (r Rules) checkPayload(payload []byte, typ string) (*time.Time, error) {
	var object map[string]json.RawMessage
	if json.Unmarshal(payload, &object) != nil || object == nil {
		return nil, refuseLookalike(payload, typ)
	}
	if !isTokenType(typ) && !hasRegistered(object) {
		return nil, nil
	}
	claims, err := strictjson.ParseObject(payload)
	if err != nil {
		return nil, Forbidden("payload", err.Error())
	}
	if err := refuseMisspelt("payload.", claims); err != nil {
		return nil, err
	}
	if _, has := claims["exp"]; !has {
		return nil, Forbidden("payload.exp", "must be there: verifiers would accept this payload as a token without end")
	}
	exp, err := r.callerExpiry("payload.exp", claims["exp"])
	if err != nil {
		return nil, err
	}
	at := time.Unix(exp, 0).UTC()
	return &at, r.checkRegistered("payload.", claims, exp)
}

// isTokenType reports whether verifiers of tokens accept a typ: those of JWTs (RFC
// 7519 section 5.1) and access tokens (RFC 9068 section 2.1), and none.
func isTokenType(typ string) bool {
	return slices.Contains([]string{"", "application/jwt", "application/at+jwt"}, mediaType(typ))
}

func hasRegistered(object map[string]json.RawMessage) bool {
	for name := range object {
		if slices.ContainsFunc(registered[:], func(known string) bool { return strings.EqualFold(name, known) }) {
			return true
		}
	}
	return false
}

// refuseLookalike refuses a payload that is not JSON but which a lenient verifier may
// read as an object that is a token: in UTF-16, after a byte order mark, Unicode
// spaces or a comment, with NaN, single quotes, bare names, escapes that JSON has not,
// or more after its end. Errors: *[ClaimError].
func refuseLookalike(payload []byte, typ string) error {
	if json.Valid(payload) { // a text, a number, an array: no object to anybody
		return nil
	}
	text := bytes.ReplaceAll(payload, []byte{0}, nil) // of UTF-16 and UTF-32
	if !bytes.HasPrefix(skipSpace(text), []byte("{")) {
		return nil
	}
	if namesRegistered(text) || isTokenType(typ) && (utf8.Valid(text) || readsAsObject(text)) {
		return Forbidden("payload", "looks like a JSON object, but is none (RFC 8259: in UTF-8, without byte order mark and comments)")
	}
	return nil
}

// readsAsObject reports whether text begins with an object for decoders that replace what is
// no UTF-8, as those of browsers and Node.js do. An empty one counts as binary data.
func readsAsObject(text []byte) bool {
	var object map[string]json.RawMessage
	valid := bytes.ToValidUTF8(skipSpace(text), []byte("\ufffd"))
	return json.NewDecoder(bytes.NewReader(valid)).Decode(&object) == nil && len(object) > 0
}

// skipSpace returns text without what lenient parsers skip before a value: controls,
// spaces and format characters of Unicode, byte order marks, and comments.
func skipSpace(text []byte) []byte {
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		switch {
		case bytes.HasPrefix(text, []byte("/*")):
			size = commentSize(text, "*/")
		case bytes.HasPrefix(text, []byte("//")), r == '#':
			size = commentSize(text, "\n")
		case r == utf8.RuneError && size == 1 && (text[0] <= 0xa0 || text[0] >= 0xfe): // of Latin-1 or UTF-16
		case !unicode.IsSpace(r) && !unicode.IsControl(r) && !unicode.Is(unicode.Cf, r):
			return text
		}
		text = text[size:]
	}
	return nil
}

// commentSize returns the length of a comment with its end, or of the whole text.
func commentSize(text []byte, end string) int {
	if i := bytes.Index(text[1:], []byte(end)); i >= 0 {
		return 1 + i + len(end)
	}
	return len(text)
}

// namesRegistered reports whether a registered claim is in text, in any case and with
// any escapes of JSON, JSON5 and JavaScript: \u0065, \u{65}, \x65, \145, \e.
func namesRegistered(text []byte) bool {
	plain := strings.ToLower(strings.ReplaceAll(string(unescape(text)), "\u017f", "s")) // ſ folds to s
	return slices.ContainsFunc(registered[:], func(name string) bool { return strings.Contains(plain, name) })
}

func unescape(text []byte) []byte {
	out := make([]byte, 0, len(text))
	for len(text) > 0 {
		if text[0] != '\\' {
			out, text = append(out, text[0]), text[1:]
			continue
		}
		r, size := unescapeOne(text[1:])
		if r >= 0 {
			out = utf8.AppendRune(out, r)
		}
		text = text[1+size:]
	}
	return out
}

// unescapeOne reads what follows a backslash. A negative rune stands for nothing: the
// backslash is dropped, as before a character that needs none, or the end of a line.
func unescapeOne(text []byte) (r rune, size int) {
	if len(text) == 0 {
		return -1, 0
	}
	digits, base, skip := 0, 16, 1
	switch c := text[0]; {
	case c == 'x':
		digits = 2
	case c == 'U':
		digits = 8
	case c == 'u' && len(text) > 1 && text[1] == '{':
		if end := bytes.IndexByte(text, '}'); end > 2 {
			if n, err := strconv.ParseUint(string(text[2:end]), 16, 21); err == nil {
				return rune(n), end + 1
			}
		}
	case c == 'u':
		digits = 4
	case c >= '0' && c <= '7':
		digits, base, skip = 3, 8, 0
	case c == '\n' || c == '\r':
		return -1, 1
	}
	for ; digits > 0; digits-- {
		if len(text) < skip+digits {
			continue
		}
		if n, err := strconv.ParseUint(string(text[skip:skip+digits]), base, 21); err == nil {
			return rune(n), skip + digits
		}
		if base == 16 {
			break
		}
	}
	return -1, 0
}
