package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/google/uuid"
)

// ApprovalError means that nothing is done yet: the tenant requires the approval of
// a second person. Once that is given, repeat the request with [Approved].
type ApprovalError struct{ Approval Approval }

func (e *ApprovalError) Error() string {
	return fmt.Sprintf("nothing is done yet: a second person has to agree; the approval to ask for is %s, until %s",
		e.Approval.ID, e.Approval.ExpiresAt.Format("2006-01-02 15:04 MST"))
}

// approvalError returns the ApprovalError in an answer of 202.
func approvalError(text []byte) error {
	var e ApprovalError
	if json.Unmarshal(text, &e.Approval) != nil {
		return ErrNotKeyward
	}
	return &e
}

// Approved sends the ID of an approval with the request that it is for.
func Approved(id uuid.UUID) RequestEditorFn {
	return func(_ context.Context, r *http.Request) error {
		r.Header.Set("Keyward-Approval", id.String())
		return nil
	}
}
