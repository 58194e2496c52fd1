// Package filelock waits for locks of files that several processes write.
// Internal to Keyward: no compatibility promise.
package filelock
