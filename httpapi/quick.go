package httpapi

import (
	"bytes"
	"encoding/json"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyward/keyward/keys"
)

// Most requests for a token are plain: known members, each once, no escapes.
// Those are read here in one pass, since reading them by reflection costs as
// much as a third of the signature. What is not plain, right or wrong, is left
// to decodeStrict; what is read here, decodeStrict reads alike.

// plainBody walks over bytes that are known to be valid JSON in UTF-8.
type plainBody struct{ checker }

// newPlain is false for what decodeStrict must look at.
func newPlain(body []byte) (*plainBody, bool) {
	ok := len(body) > 0 && utf8.Valid(body) && json.Valid(body) && deepest(body) <= maxDepth && !bytes.Contains(body, []byte(`\u`))
	return &plainBody{checker{data: body}}, ok
}

// plainOrder reads the body of signToken, if it is plain.
func plainOrder(body []byte) (keys.Order, bool) {
	p, ok := newPlain(body)
	if !ok {
		return keys.Order{}, false
	}
	return p.order()
}

// plainOrders reads the body of signTokens, if that is plain; its entries need
// not be.
func plainOrders(body []byte) (entries []entry, ok bool) {
	p, ok := newPlain(body)
	if !ok || !p.opens('{') || p.name() != "tokens" || !p.opens('[') {
		return nil, false
	}
	for p.next() != ']' {
		start := p.pos
		p.skip()
		entries = append(entries, entry{raw: p.data[start:p.pos], plain: true})
		p.comma()
	}
	p.pos++
	return entries, p.next() == '}' && len(entries) <= maxBatch
}

// order reads a SignTokenRequest.
func (p *plainBody) order() (o keys.Order, ok bool) {
	if p.next() != '{' {
		return o, false
	}
	seen := 0
	for p.pos++; p.next() != '}'; p.comma() {
		member := memberBit(p.name())
		if member == 0 || seen&member != 0 || !p.member(member, &o) {
			return o, false
		}
		seen |= member
	}
	p.pos++
	return o, seen&1 != 0
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

func (p *plainBody) member(member int, o *keys.Order) bool {
	p.next()
	start := p.pos
	p.skip()
	raw := p.data[start:p.pos]
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

// opens enters an object or array.
func (p *plainBody) opens(bracket byte) bool {
	if p.next() != bracket {
		return false
	}
	p.pos++
	return p.next() != ']' && p.next() != '}'
}

// name passes a member's name and its colon; "" for one that is not plain.
func (p *plainBody) name() string {
	p.next()
	start := p.pos
	p.skip()
	name := unquoted(p.data[start:p.pos])
	p.next()
	p.pos++
	return name
}

func (p *plainBody) comma() {
	if p.next() == ',' {
		p.pos++
	}
}

// skip passes a value.
func (p *plainBody) skip() {
	depth := 0
	for p.next(); ; {
		switch p.data[p.pos] {
		case '"':
			for p.pos++; p.data[p.pos] != '"'; p.pos++ {
				if p.data[p.pos] == '\\' {
					p.pos++
				}
			}
			p.pos++
		case '{', '[':
			depth++
			p.pos++
		case '}', ']':
			depth--
			p.pos++
		case ',', ':', ' ', '\t', '\r', '\n':
			p.pos++
		default:
			for p.pos < len(p.data) && bytes.IndexByte(delimiters, p.data[p.pos]) < 0 {
				p.pos++
			}
		}
		if depth == 0 {
			return
		}
	}
}

var delimiters = []byte(" \t\r\n,]}")

// appendToken writes a [SignedToken] as encoding/json would. A kid, an
// algorithm and a compact JWS have nothing to escape.
func appendToken(dst []byte, t keys.Token) []byte {
	dst = append(append(dst, `{"alg":"`...), t.Alg...)
	dst = t.ExpiresAt.AppendFormat(append(dst, `","expires_at":"`...), time.RFC3339Nano)
	dst = t.IssuedAt.AppendFormat(append(dst, `","issued_at":"`...), time.RFC3339Nano)
	dst = append(append(dst, `","kid":"`...), t.KID...)
	return append(append(append(dst, `","token":"`...), t.Token...), `"}`...)
}
