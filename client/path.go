package client

import (
	"fmt"
	"strings"
)

// formatPath formats the path of an operation. It escapes the segments "." and "..",
// which are valid kids: resolving a URL would remove them (RFC 3986 section 5.2.4).
func formatPath(format string, segments ...any) string {
	path := strings.Split(fmt.Sprintf(format, segments...), "/")
	for i, segment := range path {
		if segment == "." || segment == ".." {
			path[i] = strings.ReplaceAll(segment, ".", "%2E")
		}
	}
	return strings.Join(path, "/")
}
