package audit

import (
	"bytes"
	"fmt"

	"github.com/google/uuid"
)

// BrokenError names the first event at which a chain does not verify.
type BrokenError struct {
	Seq int64  // the first event that does not fit
	Why string // in words
}

// Error names the seq.
func (e *BrokenError) Error() string {
	return fmt.Sprintf("audit: the chain is broken at seq %d: %s", e.Seq, e.Why)
}

// Verifier recomputes a tenant's chain from its events, one after the other,
// without a database. It keeps only the last event. The zero value is ready and
// takes the tenant from the first event.
type Verifier struct {
	head Head
}

// VerifierAfter returns a verifier of the events that follow head, for a part of a
// chain. The caller knows head from elsewhere, or compares the part with a checkpoint.
func VerifierAfter(head Head) Verifier { return Verifier{head: head} }

// Head returns the end of the chain so far, Genesis before the first event.
func (v *Verifier) Head() Head { return v.head }

// Add checks the next event, oldest first. The error is a *[BrokenError]; the
// verifier then stays at the previous event.
func (v *Verifier) Add(e Event) error {
	if v.head.TenantID == uuid.Nil {
		v.head = Genesis(e.TenantID)
	}
	if why := v.fault(e); why != "" {
		return &BrokenError{Seq: v.head.Seq + 1, Why: why}
	}
	v.head = Head{TenantID: e.TenantID, Seq: e.Seq, Hash: e.Hash}
	return nil
}

// fault explains why e does not continue the chain, "" if it does.
func (v *Verifier) fault(e Event) string {
	switch {
	case e.TenantID != v.head.TenantID:
		return fmt.Sprintf("an event of another tenant, %s, follows", e.TenantID)
	case e.Seq != v.head.Seq+1:
		return fmt.Sprintf("the event with seq %d follows", e.Seq)
	case !bytes.Equal(e.Hash, eventHash(e)):
		return "the event was changed: it does not have the hash that it is said to have"
	case !isNext(v.head, e):
		return "the event does not continue the one before"
	}
	return ""
}
