package seal

import (
	"fmt"
	"io"
	"log/slog"
)

const redactedText = "[redacted]"

// Redacted, embedded in a type that holds a secret, makes every value of that
// type print as "[redacted]" and refuse to marshal with ErrSecret.
//
// Package fmt cannot call methods on unexported fields of foreign structs, so
// the secret itself must also sit behind a pointer: then even a struct that
// has such a value in an unexported field prints an address, not the bytes.
type Redacted struct{}

// String returns "[redacted]".
func (Redacted) String() string { return redactedText }

// GoString returns "[redacted]".
func (Redacted) GoString() string { return redactedText }

// Format writes "[redacted]" for every verb and flag.
func (Redacted) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, redactedText) }

// LogValue returns "[redacted]".
func (Redacted) LogValue() slog.Value { return slog.StringValue(redactedText) }

// MarshalJSON fails with ErrSecret.
func (Redacted) MarshalJSON() ([]byte, error) { return nil, ErrSecret }

// MarshalText fails with ErrSecret; encoding/xml asks for it, too.
func (Redacted) MarshalText() ([]byte, error) { return nil, ErrSecret }

// MarshalBinary fails with ErrSecret.
func (Redacted) MarshalBinary() ([]byte, error) { return nil, ErrSecret }

// GobEncode fails with ErrSecret.
func (Redacted) GobEncode() ([]byte, error) { return nil, ErrSecret }
