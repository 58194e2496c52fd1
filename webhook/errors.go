package webhook

import (
	"errors"
	"fmt"

	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/tenant"
)

// Errors of this package; test with errors.Is.
var (
	ErrNotFound    = errors.New("webhook: no such webhook")
	ErrNoDelivery  = errors.New("webhook: no such delivery")
	ErrTooMany     = errors.New("webhook: too many webhooks")
	ErrDisabled    = errors.New("webhook: disabled")
	ErrBadCursor   = errors.New("webhook: invalid cursor")
	ErrUnavailable = db.ErrUnavailable
)

// wrapError adds the operation to err, and returns errors that callers distinguish
// unchanged.
func wrapError(what string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, tenant.ErrNotFound), errors.Is(err, tenant.ErrNoPlatform):
		return err
	case errors.Is(err, ErrNotFound), errors.Is(err, ErrNoDelivery), errors.Is(err, ErrTooMany), errors.Is(err, ErrDisabled):
		return err
	}
	var fields *tenant.FieldErrors
	if errors.As(err, &fields) {
		return err
	}
	return fmt.Errorf("webhook: %s: %w", what, err)
}
