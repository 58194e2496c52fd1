package tenant

import (
	"crypto/subtle"
	"fmt"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
)

// Idempotency makes a request that creates something safe to repeat: the
// credential's key names it (the Idempotency-Key header), the hash tells it
// from another request under the same key.
//
// The key is written in the transaction that creates, so that either both are
// there or neither. Of two such transactions at once the second waits for the
// first, then finds its row, or is refused by the constraint
// idempotency_keys_pkey and looks again.
type Idempotency struct {
	CredentialID string
	Key          string // 1 to 255 characters
	RequestHash  []byte // SHA-256 of what was asked for

	// RepeatOnly is for a request that may not create any more: what it created
	// before is answered, else ErrNotRepeated.
	RepeatOnly bool
}

// ReplayError means that the same request under the same key has already
// created ResourceID; nothing was done.
type ReplayError struct{ ResourceID uuid.UUID }

func (e *ReplayError) Error() string {
	return fmt.Sprintf("tenant: this request has already created %s", e.ResourceID)
}

// Replay decides about a request whose key is already there: a *ReplayError
// if it was this request, else ErrIdempotencyMismatch.
func (i Idempotency) Replay(requestHash []byte, resourceID uuid.UUID) error {
	if subtle.ConstantTimeCompare(i.RequestHash, requestHash) == 1 {
		return &ReplayError{ResourceID: resourceID}
	}
	return ErrIdempotencyMismatch
}

// validate checks the bounds of the table idempotency_keys; nil is valid. The
// error is a *FieldErrors.
func (i *Idempotency) validate() error {
	if i == nil {
		return nil
	}
	var broken fields
	if n := utf8.RuneCountInString(i.Key); n < 1 || n > 255 || audit.StorableText(i.Key) != i.Key {
		broken.add("Idempotency-Key", "must be 1 to 255 characters")
	}
	return broken.fieldErrors()
}
