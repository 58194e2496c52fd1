package keys

import "errors"

// Errors that more than one room returns; test with errors.Is.
var (
	// ErrPolicyNotFound means that a tenant does not sign with an algorithm.
	ErrPolicyNotFound = errors.New("keys: the tenant has no policy for this algorithm")
	// ErrBadCursor means that a cursor is not one that a list returned.
	ErrBadCursor = errors.New("keys: cursor is not one that a list returned")
)
