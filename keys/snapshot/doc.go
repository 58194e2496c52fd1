// Package snapshot serves readers: a [Snapshot] is the state of a tenant at one
// version, a [Cache] keeps many of them. Internal to Keyward: no compatibility
// promise.
//
// It guarantees that [Cache.Fresh] returns only a state that was the latest at
// most keys.FreshFor ago, that after the notification of a change no older state
// is returned as fresh, that concurrent misses of one tenant cause one read, and
// that memory stays within its bound. While PostgreSQL is unavailable, [Cache.Get]
// serves the cached state and returns its age. A snapshot holds no secret and never
// changes.
//
// It trusts the listener to report correctly up to which time every change was
// notified.
package snapshot
