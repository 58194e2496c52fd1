package tenant

import (
	"strings"
	"unicode"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// SearchText returns the text in which searches look for a tenant: its slug and its
// name, without regard to case. It is computed here because PostgreSQL's lower depends on
// the locale of the database and knows only ASCII in the locale C.
func (t Tenant) SearchText() *string {
	text := foldCase(t.Slug + " " + t.Name)
	return &text
}

// foldCase returns text such that texts that differ in case alone become equal: Unicode's
// full case folding in normalization form KC (The Unicode Standard, section 3.13, D146).
// The Turkish dotted and dotless i count as i, because which of them is the other case of
// i depends on the language.
func foldCase(text string) string {
	folded := cases.Fold().String(norm.NFKD.String(text))
	return turkishI.Replace(norm.NFKC.String(strings.Map(foldRune, folded)))
}

// foldRune returns the same letter for all cases of one. Package cases exchanges the cases
// of Cherokee letters in place of folding them.
func foldRune(r rune) rune {
	first := r
	for other := unicode.SimpleFold(r); other != r; other = unicode.SimpleFold(other) {
		first = min(first, other)
	}
	return unicode.ToLower(first)
}

// turkishI replaces the folded forms of the Turkish letters; U+0307 is the dot of the
// capital one.
var turkishI = strings.NewReplacer("i\u0307", "i", "\u0131", "i")
