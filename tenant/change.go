package tenant

import "time"

// Optional is a member of a change that may be left out.
type Optional[T any] struct {
	Value T
	Set   bool
}

// Some is a member that is there.
func Some[T any](v T) Optional[T] { return Optional[T]{Value: v, Set: true} }

func (o Optional[T]) or(v T) T {
	if o.Set {
		return o.Value
	}
	return v
}

// Change asks for new settings of a tenant; what is not set stays. Empty texts
// and a nil NotBefore clear; a duration is cleared by setting it to that of
// [DefaultCaching].
type Change struct {
	Name                 Optional[string]
	Issuer               Optional[string]
	CustomDomain         Optional[string]
	MaxAge               Optional[time.Duration]
	StaleWhileRevalidate Optional[time.Duration]
	StaleIfError         Optional[time.Duration]
	ClockSkew            Optional[time.Duration]
	NotBefore            Optional[*time.Time]
	Status               Optional[Status] // Active or Suspended
}
