package httpapi

import (
	"bytes"
	"encoding/json"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyward/keyward/keys/signing"
)

// Most requests for a token are plain: known members, each once, no escapes.
// Those are read here in one pass, since reading them by reflection costs as
// much as a third of the signature. What is not plain, right or wrong, is left
// to decodeStrict; what is read here, decodeStrict reads alike.

// plainBody walks over bytes that may be anything, and checks as it goes that they
// are JSON.
type plainBody struct {
	data []byte
	pos  int
}

// plainOrder reads the body of signToken, if it is plain.
func plainOrder(body []byte) (signing.Order, bool) {
	p := &plainBody{data: body}
	o, ok := p.order()
	return o, ok && p.ends() && utf8.Valid(body)
}

// plainOrders reads the body of signTokens, if that is plain; its entries need
// not be.
func plainOrders(body []byte) (entries []entry, ok bool) {
	p := &plainBody{data: body}
	if !p.eat('{') || p.name() != "tokens" || !p.eat('[') {
		return nil, false
	}
	for more := true; more; more = p.eat(',') {
		raw := p.value(2)
		if raw == nil || len(entries) == maxBatch {
			return nil, false
		}
		entries = append(entries, entry{raw: raw, plain: true})
	}
	return entries, p.eat(']') && p.eat('}') && p.ends() && utf8.Valid(body)
}

// order reads a SignTokenRequest.
func (p *plainBody) order() (o signing.Order, ok bool) {
	if !p.eat('{') {
		return o, false
	}
	seen := 0
	for more := true; more; more = p.eat(',') {
		member := memberBit(p.name())
		if member == 0 || seen&member != 0 || !p.member(member, &o) {
			return o, false
		}
		seen |= member
	}
	return o, p.eat('}') && seen&1 != 0
}

// memberBit tells the members of a SignTokenRequest apart; 0 for all others.
func memberBit(name string) int {
	switch name {
	case "claims":
		return 1
	case "alg":
		return 2
	case "typ":
		return 4
	case "ttl_seconds":
		return 8
	case "nbf":
		return 16
	}
	return 0
}

func (p *plainBody) member(member int, o *signing.Order) bool {
	raw := p.value(1)
	if raw == nil {
		return false
	}
	switch member {
	case 1:
		o.Claims = raw
		return raw[0] == '{'
	case 2:
		alg := Alg(unquoted(raw))
		o.Alg = jose.SignatureAlgorithm(alg)
		return alg.Valid()
	case 4:
		typ := unquoted(raw)
		o.Typ = typ
		return typPattern.MatchString(typ)
	case 8:
		ttl, err := strconv.ParseInt(string(raw), 10, 64)
		o.TTLSeconds = &ttl
		return err == nil && ttl >= 1
	default:
		o.NotBefore = raw[0] == 't'
		return raw[0] == 't' || raw[0] == 'f'
	}
}

// unquoted is the text of a plain string, "" for anything else.
func unquoted(raw []byte) string {
	if raw[0] != '"' || bytes.IndexByte(raw, '\\') >= 0 {
		return ""
	}
	return string(raw[1 : len(raw)-1])
}

// name passes a member's name and its colon; "" for one that is not plain.
func (p *plainBody) name() string {
	p.next()
	start := p.pos
	if !p.text() {
		return ""
	}
	name := unquoted(p.data[start:p.pos])
	if !p.eat(':') {
		return ""
	}
	return name
}

// value passes a value inside of so many arrays and objects; nil for one that is
// not plain.
func (p *plainBody) value(depth int) []byte {
	p.next()
	if start := p.pos; p.pass(depth) {
		return p.data[start:p.pos]
	}
	return nil
}

// pass is false for a value that is not plain.
func (p *plainBody) pass(depth int) bool {
	opening := p.next()
	switch opening {
	case '{', '[':
	case '"':
		return p.text()
	default:
		return p.word()
	}
	if depth == maxDepth {
		return false
	}
	p.pos++
	closing := opening + 2 // in ASCII
	if p.eat(closing) {
		return true
	}
	for more := true; more; more = p.eat(',') {
		if opening == '{' && !(p.text() && p.eat(':')) || !p.pass(depth+1) {
			return false
		}
	}
	return p.eat(closing)
}

// text passes a string.
func (p *plainBody) text() bool {
	if !p.eat('"') {
		return false
	}
	for ; p.pos < len(p.data); p.pos++ {
		switch c := p.data[p.pos]; {
		case c == '"':
			p.pos++
			return true
		case c < ' ':
			return false
		case c == '\\':
			if p.pos++; p.pos == len(p.data) || bytes.IndexByte(escaped, p.data[p.pos]) < 0 {
				return false
			}
		}
	}
	return false
}

// word passes a number or a literal.
func (p *plainBody) word() bool {
	start := p.pos
	for p.pos < len(p.data) && bytes.IndexByte(delimiters, p.data[p.pos]) < 0 {
		p.pos++
	}
	return json.Valid(p.data[start:p.pos])
}

// eat passes a byte that is no white space, if that is next.
func (p *plainBody) eat(c byte) bool {
	if p.next() != c {
		return false
	}
	p.pos++
	return true
}

// next is the first byte of the next token; 0 at the end.
func (p *plainBody) next() byte {
	for ; p.pos < len(p.data); p.pos++ {
		if c := p.data[p.pos]; c != ' ' && c != '\t' && c != '\r' && c != '\n' {
			return c
		}
	}
	return 0
}

func (p *plainBody) ends() bool { return p.next() == 0 && p.pos == len(p.data) }

var (
	escaped    = []byte(`"\/bfnrt`) // not u: surrogates come in pairs, or should
	delimiters = []byte(" \t\r\n,]}")
)

// appendToken writes a [SignedToken] as encoding/json would. A kid, an
// algorithm and a compact JWS have nothing to escape.
func appendToken(dst []byte, t signing.Token) []byte {
	dst = append(append(dst, `{"alg":"`...), t.Alg...)
	dst = t.ExpiresAt.AppendFormat(append(dst, `","expires_at":"`...), time.RFC3339Nano)
	dst = t.IssuedAt.AppendFormat(append(dst, `","issued_at":"`...), time.RFC3339Nano)
	dst = append(append(dst, `","kid":"`...), t.KID...)
	return append(append(append(dst, `","token":"`...), t.Token...), `"}`...)
}
