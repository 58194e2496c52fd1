// Package keyfile reads keys that come from elsewhere: private and public keys
// as PEM, PKCS#8, PKCS#1, SEC 1, SubjectPublicKeyInfo, JWK or JWK Set. Internal to
// Keyward: no compatibility promise.
//
// It guarantees that a key it returns is whole, on one of the curves that are
// signed with or an RSA key that is not known to be weak, that a public key which
// came along with a private one is its own, and that no error repeats anything of
// the material. It is pure and trusts nothing of what it reads.
package keyfile
