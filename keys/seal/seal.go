// Package seal keeps private keys at rest by envelope encryption. Internal to
// Keyward: no compatibility promise.
//
//	master key       outside the database, named by a URI
//	   │ wraps (once per tenant and version, never per signature)
//	   ▼
//	data key         one per tenant and version; its row is data_keys
//	   │ seals
//	   ▼
//	private key      PKCS#8; its column is keys.sealed_private
//
// It guarantees that what it wrapped or sealed opens only as what it was: the
// associated data of every ciphertext names its purpose, its format and the
// row it belongs to, so whoever can write the database can still not move one
// to another tenant, key, version or column. It also guarantees that a master
// key, once Init or AddVersion returned, survives a crash, and that neither
// ever overwrites another one.
//
// It does not hide how long a private key is, and it cannot tell an old
// ciphertext of a row from its present one: a row put back to an earlier state
// opens. It trusts the machine's random numbers, whoever can read the master
// key or may use it in a KMS, and the memory of this process.
package seal

import "errors"

// The errors of this package. None of them, nor any text around them, carries
// key material or bytes of a master key file.
var (
	// ErrBadURI: the text is no URI a master key can be named by.
	ErrBadURI = errors.New("not a master key URI")
	// ErrUnknownScheme: no kind of master key has this scheme.
	ErrUnknownScheme = errors.New("unknown scheme")
	// ErrNoMasterKey: the URI names nothing yet.
	ErrNoMasterKey = errors.New("no master key there")
	// ErrExists: Init found something where it was to create a master key.
	ErrExists = errors.New("a master key is there already and is never overwritten")
	// ErrPermissions: others than the owner may read or write the master key.
	ErrPermissions = errors.New("others may read or write it")
	// ErrNotMasterKey: what the URI names is not a usable master key.
	ErrNotMasterKey = errors.New("not a master key")
	// ErrUnknownVersion: the master key has no such version, even after it
	// was read again.
	ErrUnknownVersion = errors.New("no such version of the master key")
	// ErrNewestVersion: the newest version of a master key can't be removed.
	ErrNewestVersion = errors.New("the newest version of a master key stays")

	// ErrReadOnly: this kind of master key is made and changed elsewhere.
	ErrReadOnly = errors.New("this kind of master key is only used here, not made or changed")
	// ErrUnfit: what the URI names works, but not as a master key has to.
	ErrUnfit = errors.New("not fit to be a master key")
	// ErrUnavailable: a KMS could not be asked, however often it was tried.
	ErrUnavailable = errors.New("the KMS is not available")
	// ErrDenied: a KMS does not let this process use the key.
	ErrDenied = errors.New("the KMS refuses")

	// ErrWrongMasterKey: this master key did not make the key check, or does
	// not vouch for the successor.
	ErrWrongMasterKey = errors.New("wrong master key")
	// ErrCannotOpen: a ciphertext is damaged, was made by another key or
	// belongs elsewhere. Which of these it is, nobody is told.
	ErrCannotOpen = errors.New("cannot open what was sealed")
	// ErrDestroyed: the data key was destroyed while somebody still held it.
	// It says nothing about the ciphertext; unwrap the data key again.
	ErrDestroyed = errors.New("the data key was destroyed")
	// ErrSecret: a value that holds a secret was asked to marshal itself.
	ErrSecret = errors.New("secrets do not marshal")
)
