// Package signing signs with the active keys of tenants and verifies what they
// signed; it keeps the evidence of what was signed until when, and signs what the
// platform itself attests: checkpoints, key histories, certificates of
// destruction. Internal to Keyward: no compatibility promise.
//
// It guarantees that nothing is signed by a state of the tenant older than
// keys.FreshFor, that a private key is used only if its row is the latest of its
// history and the public key beside it is its own, that it leaves memory when its
// tenant changes, and that only [Signer.Attest] signs under a reserved type.
//
// It trusts the snapshot with which key is active, and custody with the data keys.
package signing
