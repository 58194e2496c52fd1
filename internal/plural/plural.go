// Package plural writes numbers with their nouns. Internal to Keyward: no compatibility
// promise.
package plural

import (
	"fmt"
	"strings"
)

// Integer is a number of things.
type Integer interface {
	~int | ~int32 | ~int64 | ~uint32 | ~uint64
}

// Count returns a number with its noun: "1 key", "2 keys", "3 policies".
func Count[N Integer](n N, noun string) string {
	return fmt.Sprintf("%d %s", n, Noun(n, noun))
}

// Noun returns a noun as it stands beside a number: "key", "keys", "policies".
func Noun[N Integer](n N, noun string) string {
	stem, isY := strings.CutSuffix(noun, "y")
	switch {
	case n == 1:
		return noun
	case isY && !strings.HasSuffix(stem, "e") && !strings.HasSuffix(stem, "a"):
		return stem + "ies"
	}
	return noun + "s"
}

// Verb returns the form of a verb, or of another word, that agrees with a number.
func Verb[N Integer](n N, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}
