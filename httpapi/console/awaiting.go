package console

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/keyward/keyward/client"
)

// awaitingPage is a request that waits for a second person, with the form that repeats it.
type awaitingPage struct {
	Approval client.Approval
	Action   string // where the form goes
	Fields   []hiddenField
}

type hiddenField struct{ Name, Value string }

// changes are the editors of a request that the visitor's form makes: sent twice it is the
// same request, it shows up to when every replica serves the change, and it brings the
// second person's approval.
func (v *visit) changes() []client.RequestEditorFn {
	editors := []client.RequestEditorFn{client.Once(v.onceKey()), preferWait}
	if id, err := uuid.Parse(v.r.PostForm.Get("approval")); err == nil {
		editors = append(editors, client.Approved(id))
	}
	return editors
}

// onceKey names a request by the page that it comes from and by what was entered there: the
// forms of one page are several requests, and so is one that was filled in otherwise.
func (v *visit) onceKey() string {
	if v.r.PostForm.Get("nonce") == "" {
		return client.NewKey()
	}
	sum := sha256.Sum256([]byte(v.r.Method + v.r.URL.Path + "?" + v.r.PostForm.Encode()))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// showAwaiting shows that the visitor's form waits for a second person, if that is what err
// says. The page has the form again, as hidden fields and with the approval: what somebody
// typed can be a secret, so it is in no address.
func (v *visit) showAwaiting(err error) (shown bool, _ error) {
	var awaits *client.ApprovalError
	if !errors.As(err, &awaits) {
		return false, nil
	}
	p := awaitingPage{Approval: awaits.Approval, Action: v.r.URL.RequestURI()}
	for name, values := range v.r.PostForm {
		if name == "nonce" || name == "approval" { // it is another request
			continue
		}
		for _, value := range values {
			p.Fields = append(p.Fields, hiddenField{name, value})
		}
	}
	slices.SortStableFunc(p.Fields, func(a, b hiddenField) int { return strings.Compare(a.Name, b.Name) })
	p.Fields = append(p.Fields, hiddenField{"approval", p.Approval.ID.String()}, hiddenField{"nonce", client.NewKey()})
	return true, v.renderStatus(http.StatusAccepted, "awaiting.html", "Waiting for a second person", p)
}
