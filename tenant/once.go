package tenant

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
)

// Errors of requests with an Idempotency-Key; test with errors.Is.
var (
	ErrIdempotencyMismatch = errors.New("tenant: this idempotency key was used for another request")
	ErrAnswerUnreadable    = errors.New("tenant: the stored answer cannot be decrypted")
	ErrTooManyAnswers      = errors.New("tenant: too many answers to requests with idempotency keys are stored")
)

// How many answers are stored at most, so that no tenant fills the table for the others. A
// request beyond is refused, and nothing is forgotten early: a request whose answer was
// forgotten would be carried out a second time. A credential with few answers is never
// refused, whatever others of its tenant have stored: an emergency is not the time. What
// belongs to the platform is not bounded, for which platform administrators alone have the
// right.
const (
	MaxAnswersOfCredential = 10_000 // of a credential in one tenant
	MaxAnswersOfTenant     = 20_000 // of all credentials
	reservedAnswers        = 100    // of a credential that MaxAnswersOfTenant does not concern
)

// answerLifetime is how long an answer is stored at least.
const answerLifetime = 24 * time.Hour

// ForgetAnswers deletes stored answers whose lifetime is over. Call it from time to time.
func (s *Store) ForgetAnswers(ctx context.Context) error {
	return s.db.AsPlatform(ctx, func(tx *db.Tx) error {
		_, err := tx.ForgetIdempotencyKeys(ctx, s.now().Add(-answerLifetime))
		return err
	})
}

// Once identifies a request with an Idempotency-Key. Requests of different callers, for
// different tenants or with different approvals have nothing to do with each other.
type Once struct {
	TenantID     *uuid.UUID // of the request's path; nil: the platform's
	CredentialID string     // of the caller
	Key          string     // 1 to 255 characters
	ApprovalID   string     // that the request names, or empty
	RequestHash  []byte     // SHA-256 of the request; tells another request with the key apart
}

// Answer is the answer to a request, as it is given again.
type Answer struct {
	Status int               `json:"status"`
	Header map[string]string `json:"header"`
	Body   []byte            `json:"body"`
}

// RunOnce answers a request with an Idempotency-Key. do carries the request out; what it
// changes with its context is committed after it returned, in one transaction with its
// answer, so that of a request either both are there or neither, and a COMMIT whose
// answer is lost can be asked for again. do may run again, as the functions that are
// passed to the doors of package db.
//
// A request that was answered before is not carried out: replayed is true. A refusal is
// not stored, since it has changed nothing. Of two equal requests at once the second
// waits for the first, by the locks of the change or of the stored row. Errors: do's,
// ErrIdempotencyMismatch, ErrAnswerUnreadable, ErrTooManyAnswers, *FieldErrors,
// ErrNoAuthority, ErrUnknownOutcome, ErrUnavailable.
func (s *Store) RunOnce(ctx context.Context, once Once, do func(context.Context) (Answer, error)) (a Answer, replayed bool, err error) {
	home, a, found, err := s.findAnswer(ctx, once, true)
	if found || err != nil {
		return a, found, err
	}
	err = s.db.Repeat(ctx, func() (err error) {
		a, err = s.carryOut(ctx, home, once, do)
		return err
	})
	if err == nil {
		return a, false, nil
	}
	// Another process may have carried the request out meanwhile, which is then why this
	// one was refused; or this one has, and only the answer to its COMMIT was lost.
	look, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookAgainTimeout)
	defer cancel()
	if first, found, lookErr := s.answered(look, home, once, false); found || errors.Is(lookErr, ErrIdempotencyMismatch) {
		return first, found, lookErr
	}
	return Answer{}, false, err
}

// lookAgainTimeout bounds the search for an answer after a failure.
const lookAgainTimeout = 2 * time.Second

// carryOut runs do and stores its answer in the transaction of its change.
func (s *Store) carryOut(ctx context.Context, home uuid.UUID, once Once, do func(context.Context) (Answer, error)) (Answer, error) {
	held, change := db.WithChange(ctx, true)
	defer change.Rollback(ctx)
	a, err := do(held)
	if err != nil {
		return Answer{}, err
	}
	sealed, err := s.authority.sealAnswer(once, a)
	if err != nil {
		return Answer{}, err
	}
	err = change.Commit(ctx, s.db, once.TenantID, func(w *db.Writes) error {
		return w.InsertIdempotencyKey(ctx, db.InsertIdempotencyKeyParams{
			TenantID: home, CredentialID: once.CredentialID, Key: once.Key, ApprovalID: once.ApprovalID,
			RequestHash: once.RequestHash, Answer: sealed,
		})
	})
	return a, wrapError("idempotent request", err)
}

// answered returns the first answer to a request, if there is one. If there is none and
// another is to be stored, it checks that there is room for it. Errors: ErrTooManyAnswers.
func (s *Store) answered(ctx context.Context, home uuid.UUID, once Once, storing bool) (a Answer, found bool, err error) {
	var mostOfCredential, mostOfTenant int64 // 0: not counted
	if storing && once.TenantID != nil {
		mostOfCredential, mostOfTenant = MaxAnswersOfCredential, MaxAnswersOfTenant
	}
	row, stored, err := s.db.IdempotentAnswer(ctx, db.GetIdempotencyKeyParams{
		TenantID: home, CredentialID: once.CredentialID, Key: once.Key, ApprovalID: once.ApprovalID,
	}, mostOfCredential, mostOfTenant)
	switch {
	case errors.Is(err, db.ErrNoRows):
		full := stored.OfTenant >= MaxAnswersOfTenant && stored.OfCredential >= reservedAnswers
		if stored.OfCredential >= MaxAnswersOfCredential || full {
			return Answer{}, false, ErrTooManyAnswers
		}
		return Answer{}, false, nil
	case err != nil:
		return Answer{}, false, wrapError("idempotency key", err)
	case subtle.ConstantTimeCompare(once.RequestHash, row.RequestHash) != 1:
		return Answer{}, false, ErrIdempotencyMismatch
	}
	a, err = s.authority.openAnswer(once, row.Answer)
	return a, err == nil, err
}

// Answered returns the first answer to a request, if there is one, for a request that
// cannot be carried out any more. Errors: ErrIdempotencyMismatch, ErrAnswerUnreadable,
// *FieldErrors, ErrNoAuthority, ErrUnavailable.
func (s *Store) Answered(ctx context.Context, once Once) (a Answer, found bool, err error) {
	_, a, found, err = s.findAnswer(ctx, once, false)
	return a, found, err
}

// findAnswer checks a request and returns the first answer to it, if there is one, and
// the tenant that it belongs to. storing says that another is to be stored if there is none.
func (s *Store) findAnswer(ctx context.Context, once Once, storing bool) (home uuid.UUID, a Answer, found bool, err error) {
	if err := once.validate(); err != nil {
		return home, Answer{}, false, err
	}
	if s.authority == nil {
		return home, Answer{}, false, ErrNoAuthority
	}
	if home, err = s.homeOf(ctx, once); err != nil {
		return home, Answer{}, false, err
	}
	a, found, err = s.answered(ctx, home, once, storing)
	return home, a, found, err
}

// homeOf returns the tenant that a request's stored answer belongs to.
func (s *Store) homeOf(ctx context.Context, once Once) (uuid.UUID, error) {
	if once.TenantID != nil {
		return *once.TenantID, nil
	}
	id, err := s.Resolve(ctx, PlatformSlug)
	if errors.Is(err, ErrNotFound) {
		err = ErrNoPlatform
	}
	return id, err
}

// validate checks the bounds of the table idempotency_keys. The error is a *FieldErrors.
func (o Once) validate() error {
	var broken fields
	if n := utf8.RuneCountInString(o.Key); n < 1 || n > 255 || audit.StorableText(o.Key) != o.Key {
		broken.add("Idempotency-Key", "must be 1 to 255 characters")
	}
	return broken.fieldErrors()
}

// record identifies the request in the encryption of its answer.
func (o Once) record() macRecord {
	return newMACRecord("idempotency_keys").id(o.TenantID).text(o.CredentialID).text(o.Key).text(o.ApprovalID).bytes(o.RequestHash)
}

// saltSize is the length of the salt before an encrypted answer, from which its key is
// derived. The nonce is zero, because each key encrypts one answer.
const saltSize = 16

// sealAnswer encrypts an answer, which may hold a secret that is shown once, with
// AES-256-GCM under a key that the authority key and the request yield: whoever can read
// or write the database alone can neither read nor make one.
func (a *Authority) sealAnswer(once Once, answer Answer) ([]byte, error) {
	text, err := json.Marshal(answer)
	if err != nil {
		return nil, err
	}
	defer clear(text)
	salt := make([]byte, saltSize, saltSize+len(text)+sha256.Size)
	_, _ = rand.Read(salt) // never fails
	gcm, err := a.answerCipher(once, salt)
	if err != nil {
		return nil, err
	}
	return gcm.Seal(salt, make([]byte, gcm.NonceSize()), text, nil), nil // #nosec G407 -- the key is used once
}

// openAnswer decrypts an answer of sealAnswer. Errors: ErrAnswerUnreadable.
func (a *Authority) openAnswer(once Once, sealed []byte) (answer Answer, err error) {
	if len(sealed) < saltSize {
		return Answer{}, ErrAnswerUnreadable
	}
	gcm, err := a.answerCipher(once, sealed[:saltSize])
	if err != nil {
		return Answer{}, err
	}
	text, err := gcm.Open(nil, make([]byte, gcm.NonceSize()), sealed[saltSize:], nil)
	if err != nil {
		return Answer{}, ErrAnswerUnreadable
	}
	defer clear(text)
	if err := json.Unmarshal(text, &answer); err != nil {
		return Answer{}, ErrAnswerUnreadable
	}
	return answer, nil
}

func (a *Authority) answerCipher(once Once, salt []byte) (cipher.AEAD, error) {
	h := hmac.New(sha256.New, *a.key)
	h.Write(once.record().text("answer").bytes(salt))
	block, err := aes.NewCipher(h.Sum(nil))
	if err != nil {
		return nil, fmt.Errorf("tenant: %w", err)
	}
	return cipher.NewGCM(block)
}

// Outcome of a change that failed: see [FollowChange].
type Outcome = string

// What is known of a change that failed.
const (
	OutcomeUnchanged Outcome = "unchanged" // nothing was changed
	OutcomeUnknown   Outcome = "unknown"   // it may have been changed
)

// FollowChange returns a context by which a request changes something, and a function
// that says what is known of the change when the request has failed.
func FollowChange(ctx context.Context) (context.Context, func(error) Outcome) {
	ctx, change := db.WithChange(ctx, false)
	return ctx, func(err error) Outcome {
		if errors.Is(err, ErrUnknownOutcome) || change.Outcome() != db.Unchanged {
			return OutcomeUnknown
		}
		return OutcomeUnchanged
	}
}

// ChangeMade reports whether the request of a context of [FollowChange] has committed a
// change.
func ChangeMade(ctx context.Context) bool { return db.ChangeMade(ctx) }

// BesideChange returns a context for what a request writes beside its change, and what
// stays if the change fails.
func BesideChange(ctx context.Context) context.Context { return db.WithoutChange(ctx) }

// AfterCommit calls f when the change of the context's request is committed: at once,
// unless RunOnce commits it later. Caches are invalidated by it.
func AfterCommit(ctx context.Context, f func()) { db.AfterCommit(ctx, f) }
