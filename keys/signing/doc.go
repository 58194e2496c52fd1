// Package signing signs with the active keys of tenants and verifies their tokens;
// it records when each key signed last (the evidence), and signs the platform's own
// statements: checkpoints, key histories, certificates of destruction. Internal to
// Keyward: no compatibility promise.
//
// It guarantees that no signature is based on a state of the tenant older than
// keys.FreshFor, that a private key is used only if its row is the latest of its
// history and matches the public key in that row, that it leaves memory when its
// tenant changes, and that only [Signer.Attest] signs under a reserved type.
//
// It trusts the snapshot to name the active key, and custody to open data keys.
package signing
