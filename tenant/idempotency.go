package tenant

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
)

// Idempotency makes a creating request safe to repeat: credential and key (the
// Idempotency-Key header) identify the request, the hash distinguishes it from
// another request with the same key.
//
// The key is stored in the transaction that creates the resource. Of two such
// transactions at once the second waits for the first and then finds its row, or
// violates the constraint idempotency_keys_pkey and reads again.
type Idempotency struct {
	CredentialID string
	Key          string // 1 to 255 characters
	RequestHash  []byte // SHA-256 of the request

	// RepeatOnly is for a request that may no longer create anything: it is
	// answered with the earlier result, or ErrNotRepeated if there is none.
	RepeatOnly bool
}

// ReplayError means that the same request with the same key has already created
// ResourceID, and that nothing was changed now.
type ReplayError struct{ ResourceID uuid.UUID }

func (e *ReplayError) Error() string {
	return fmt.Sprintf("tenant: this request has already created %s", e.ResourceID)
}

// Replay compares the request with the stored one of the same key. It returns a
// *ReplayError if they are the same, else ErrIdempotencyMismatch.
func (i Idempotency) Replay(requestHash []byte, resourceID uuid.UUID) error {
	if subtle.ConstantTimeCompare(i.RequestHash, requestHash) == 1 {
		return &ReplayError{ResourceID: resourceID}
	}
	return ErrIdempotencyMismatch
}

// CheckReplay returns nil if a request may create its resource. find reads the
// stored request with a credential and key from the database. The caller holds the
// tenant's lock, so that no such request is in progress. A nil Idempotency is never
// a replay. Errors: those of Replay and find, ErrNotRepeated.
func (i *Idempotency) CheckReplay(find func(credentialID, key string) (requestHash []byte, resourceID uuid.UUID, err error)) error {
	if i == nil {
		return nil
	}
	requestHash, resourceID, err := find(i.CredentialID, i.Key)
	switch {
	case errors.Is(err, db.ErrNoRows) && i.RepeatOnly:
		return ErrNotRepeated
	case errors.Is(err, db.ErrNoRows):
		return nil
	case err != nil:
		return err
	}
	return i.Replay(requestHash, resourceID)
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
