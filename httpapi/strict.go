package httpapi

import (
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxDepth is how deep arrays and objects of a body may nest.
const maxDepth = 64

var (
	unmarshaler = reflect.TypeFor[json.Unmarshaler]()
	deferred    = reflect.TypeFor[Deferred]()
	jsonObject  = reflect.TypeFor[JSONObject]()
)

// checkJSON refuses what encoding/json would let pass: duplicate members,
// members the type does not have in this very case, missing ones, null for
// what cannot be null, unpaired surrogates (RFC 7493
// sections 2.1 and 2.3), deep nesting. t is the type the bytes are meant for;
// nil means anything.
func checkJSON(data []byte, t reflect.Type) error {
	if !utf8.Valid(data) {
		return newProblem(ProblemCodeInvalidRequest, "The body is not UTF-8.")
	}
	if deepest(data) > maxDepth {
		return newProblem(ProblemCodeInvalidRequest, "The body is nested deeper than "+strconv.Itoa(maxDepth)+" levels.")
	}
	if !json.Valid(data) {
		return newProblem(ProblemCodeInvalidRequest, "The body is not one JSON value.")
	}
	return (&checker{data: data}).value(t, "")
}

// checker walks over bytes that are known to be valid JSON.
type checker struct {
	data []byte
	pos  int
	lax  bool // inside a Deferred, whose reader checks it
}

// next is the first byte of the next token.
func (c *checker) next() byte {
	for strings.IndexByte(" \t\r\n", c.data[c.pos]) >= 0 {
		c.pos++
	}
	return c.data[c.pos]
}

func (c *checker) value(t reflect.Type, path string) error {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	first := c.next()
	switch {
	case t == deferred && !c.lax:
		c.lax = true
		defer func() { c.lax = false }()
	case t == jsonObject && first != '{':
		return invalid(path, "must be an object")
	case t != nil && !opaque(t) && first == 'n':
		return invalid(path, "must not be null")
	}
	if t != nil && opaque(t) {
		t = nil
	}
	return c.token(first, t, path)
}

func (c *checker) token(first byte, t reflect.Type, path string) error {
	switch first {
	case '{':
		return c.object(t, path)
	case '[':
		return c.array(t, path)
	case '"':
		_, err := c.text(path)
		return err
	default: // a number or a literal
		for c.pos < len(c.data) && strings.IndexByte(" \t\r\n,]}", c.data[c.pos]) < 0 {
			c.pos++
		}
		return nil
	}
}

// opaque types read their JSON themselves.
func opaque(t reflect.Type) bool {
	return t.Implements(unmarshaler) || reflect.PointerTo(t).Implements(unmarshaler)
}

func (c *checker) array(t reflect.Type, path string) error {
	var elem reflect.Type
	if t != nil && (t.Kind() == reflect.Slice || t.Kind() == reflect.Array) {
		elem = t.Elem()
	}
	c.pos++
	for i := 0; c.next() != ']'; i++ {
		if c.data[c.pos] == ',' {
			c.pos++
		}
		if err := c.value(elem, path+"["+strconv.Itoa(i)+"]"); err != nil {
			return err
		}
	}
	c.pos++
	return nil
}

func (c *checker) object(t reflect.Type, path string) error {
	seen := map[string]bool{}
	c.pos++
	for c.next() != '}' {
		if c.data[c.pos] == ',' {
			c.pos++
			c.next()
		}
		name, err := c.text(path)
		if err != nil {
			return err
		}
		at := join(path, name)
		if seen[name] && !c.lax {
			return invalid(at, "must not be given twice")
		}
		seen[name] = true
		member, err := memberOf(t, name, at)
		if err != nil {
			return err
		}
		c.next()
		c.pos++ // the colon
		if err := c.value(member, at); err != nil {
			return err
		}
	}
	c.pos++
	return missing(t, seen, path)
}
