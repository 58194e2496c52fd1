// Package snapshot is what readers are served from: the state of a tenant at one
// version, and a cache of such states. Internal to Keyward: no compatibility
// promise.
//
// It guarantees that [Cache.Fresh] returns only a state that was the latest at
// most keys.FreshFor ago, that a change which was heard of is never followed by an
// older state, that however many readers miss at once cause one read, and that
// memory stays within its bound. Without PostgreSQL, [Cache.Get] serves what it
// knows, and says how old it is. A snapshot holds no secret and never changes.
//
// It trusts the listener to say until when it has heard every change.
package snapshot
