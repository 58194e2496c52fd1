package seal

import (
	"fmt"
	"maps"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// kinds maps each scheme to what makes a source of the rest of a URI; it also
// returns the one spelling of the URI that is stored and compared.
var kinds = map[string]func(rest string) (source, string, error){
	"aws-kms": newAWS,
	"env":     newEnv,
	"file":    newFile,
	"gcp-kms": newGCP,
	"hcvault": newVault,
}

var scheme = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*$`) // RFC 3986 section 3.1

const example = "file:/etc/keyward/master.json"

// parseURI returns the source a URI names and the URI in its one spelling.
func parseURI(uri string) (source, string, error) {
	name, rest, found := strings.Cut(uri, ":")
	if !found || !scheme.MatchString(name) {
		return nil, "", fmt.Errorf("%w: want a scheme, as in %s", ErrBadURI, example)
	}
	kind, known := kinds[strings.ToLower(name)]
	if !known {
		all := slices.Sorted(maps.Keys(kinds))
		return nil, "", fmt.Errorf("master key %s: %w %q (known: %s)", Redact(uri), ErrUnknownScheme, name, strings.Join(all, ", "))
	}
	src, canonical, err := kind(rest)
	if err != nil {
		return nil, "", fmt.Errorf("master key %s: %w", Redact(uri), err)
	}
	return src, canonical, nil
}

// newFile reads file:relative/path, file:/abs and file:///abs (RFC 8089),
// with percent-encoding. A relative path starts at the working directory.
func newFile(rest string) (source, string, error) {
	if after, ok := strings.CutPrefix(rest, "//"); ok {
		host, _, _ := strings.Cut(after, "/")
		if host != "" && host != "localhost" {
			return nil, "", fmt.Errorf("%w: %q is read as a host; write %s or file:relative/path", ErrBadURI, host, example)
		}
		rest = after[len(host):]
	}
	path, err := url.PathUnescape(rest)
	if err != nil || strings.ContainsAny(rest, "?#\x00") || strings.ContainsRune(path, 0) {
		return nil, "", fmt.Errorf("%w: percent-encode what is not plain in a path", ErrBadURI)
	}
	switch path[strings.LastIndexByte(path, '/')+1:] {
	case "", ".", "..":
		return nil, "", fmt.Errorf("%w: want the path of a file, as in %s", ErrBadURI, example)
	}
	path = filepath.Clean(path)
	canonical := "file:" + (&url.URL{Path: path}).EscapedPath()
	return file{path}, canonical, nil
}

// Redact returns uri without parts that may be a credential: user information,
// the query, and text after a scheme without "//" unless it is a path or the
// name of a variable. Every error of this package shows URIs in this form.
func Redact(uri string) string {
	name, rest, found := strings.Cut(uri, ":")
	switch {
	case !found || !scheme.MatchString(name):
		return redactedText
	case strings.EqualFold(name, "file"), strings.EqualFold(name, "env") && envName.MatchString(rest):
		return uri
	case !strings.HasPrefix(rest, "//"):
		return name + ":" + redactedText
	}
	rest, query := cutAny(rest[2:], "?#")
	if i := strings.LastIndex(rest, "@"); i >= 0 {
		rest = redactedText + rest[i:]
	}
	if query != "" {
		rest += query[:1] + redactedText
	}
	return name + "://" + rest
}

func cutAny(s, chars string) (before, after string) {
	if i := strings.IndexAny(s, chars); i >= 0 {
		return s[:i], s[i:]
	}
	return s, ""
}
