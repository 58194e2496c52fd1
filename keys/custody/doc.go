// Package custody holds master keys and data keys: it opens those that the
// database names, makes, rotates, re-wraps and retires them. Internal to Keyward:
// no compatibility promise.
//
// It guarantees that a master key is used only if the configured place holds it,
// or if keys that do vouch for it one after the other, so that write access to
// the database is not enough to bring one in; that each data key is opened with
// the master key that its row names, and that a rotation which was interrupted is
// finished by the next one.
//
// It trusts package seal with the encryption, and PostgreSQL to keep what it
// committed. Opened keys stay in memory for a bounded time.
package custody
