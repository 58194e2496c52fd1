package httpapi

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

//go:embed docs.html
var docsHTML string

//go:embed docs.css
var docsCSS string

// pageOperation is an operation as the page shows it.
type pageOperation struct {
	ID, Method, Path, Summary, Description string
	Body                                   string // name of its schema
	Answers                                []string
}

// newPage renders the document as one page that asks for nothing else: no
// script, and a style that the policy knows by its hash (CSP level 3, section
// 2.3.1).
func newPage(doc *openapi3.T) (*static, error) {
	t, err := template.New("docs").Funcs(template.FuncMap{"inline": inline}).Parse(docsHTML)
	if err != nil {
		return nil, fmt.Errorf("httpapi: docs.html: %w", err)
	}
	var b bytes.Buffer
	err = t.Execute(&b, map[string]any{
		"Title": doc.Info.Title, "Version": doc.Info.Version, "About": paragraphs(doc.Info.Description),
		"Tags": doc.Tags, "Operations": pageOperations(doc), "Style": template.CSS(docsCSS),
	})
	if err != nil {
		return nil, fmt.Errorf("httpapi: docs.html: %w", err)
	}
	page := newStatic("text/html; charset=utf-8", b.Bytes())
	sum := sha256.Sum256([]byte(docsCSS))
	page.header["Content-Security-Policy"] = []string{fmt.Sprintf(
		"default-src 'none'; style-src 'sha256-%s'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
		base64.StdEncoding.EncodeToString(sum[:]))}
	page.header["Referrer-Policy"] = []string{"no-referrer"}
	return page, nil
}

// pageOperations are the operations by tag, in the order of their paths.
func pageOperations(doc *openapi3.T) map[string][]pageOperation {
	byTag := map[string][]pageOperation{}
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			tag := op.Tags[0]
			byTag[tag] = append(byTag[tag], pageOperation{
				ID: op.OperationID, Method: method, Path: path, Summary: op.Summary, Description: op.Description,
				Body: bodyName(op), Answers: answers(op),
			})
		}
	}
	methods := []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}
	for _, ops := range byTag {
		slices.SortFunc(ops, func(a, b pageOperation) int {
			return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(slices.Index(methods, a.Method), slices.Index(methods, b.Method)))
		})
	}
	return byTag
}

func bodyName(op *openapi3.Operation) string {
	if op.RequestBody == nil {
		return ""
	}
	for _, m := range op.RequestBody.Value.Content {
		return m.Schema.Ref[strings.LastIndexByte(m.Schema.Ref, '/')+1:]
	}
	return ""
}

func answers(op *openapi3.Operation) []string {
	return namesOf(op.Responses.Map())
}

func paragraphs(text string) []string { return strings.Split(strings.TrimSpace(text), "\n\n") }

// markup are the two kinds of emphasis that descriptions use (CommonMark
// sections 6.1 and 6.2), once the text is escaped.
var markup = regexp.MustCompile("`([^`]+)`|\\*\\*([^*]+)\\*\\*")

// inline renders a description.
func inline(text string) template.HTML {
	escaped := template.HTMLEscapeString(text)
	return template.HTML(markup.ReplaceAllStringFunc(escaped, func(m string) string {
		if code, is := strings.CutPrefix(m, "`"); is {
			return "<code>" + strings.TrimSuffix(code, "`") + "</code>"
		}
		return "<strong>" + strings.Trim(m, "*") + "</strong>"
	}))
}
