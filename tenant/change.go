package tenant

import (
	"encoding/json"
	"reflect"
	"time"
)

// Optional is a member of a change that may be left out.
type Optional[T any] struct {
	Value T
	Set   bool
}

// Some is a member that is there.
func Some[T any](v T) Optional[T] { return Optional[T]{Value: v, Set: true} }

func (o Optional[T]) into(v *T) {
	if o.Set {
		*v = o.Value
	}
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
	Freezes              Optional[[]Freeze]        // all of them
	Status               Optional[Status]          // Active or Suspended
	ApprovalRequired     Optional[[]Operation]     // all of them
	Metadata             Optional[json.RawMessage] // all members; empty, null and {} clear
}

// apply is the tenant as the change wants it at now. The error is a
// *FieldErrors, or ErrBuiltIn.
func (c Change) apply(t Tenant, now time.Time) (Tenant, error) {
	c.Name.into(&t.Name)
	c.Issuer.into(&t.OwnIssuer)
	c.CustomDomain.into(&t.CustomDomain)
	c.MaxAge.into(&t.Caching.MaxAge)
	c.StaleWhileRevalidate.into(&t.Caching.StaleWhileRevalidate)
	c.StaleIfError.into(&t.Caching.StaleIfError)
	c.ClockSkew.into(&t.Caching.ClockSkew)
	c.Status.into(&t.Status)
	t.CustomDomain = LowerDomain(t.CustomDomain)
	if c.NotBefore.Set {
		t.NotBefore = truncated(c.NotBefore.Value)
		if err := t.validateEpoch(now); err != nil {
			return t, err
		}
	}
	c.Freezes.into(&t.Freezes)
	c.ApprovalRequired.into(&t.ApprovalRequired)
	c.Metadata.into(&t.Metadata)
	if err := t.validate(); err != nil {
		return t, err
	}
	t.Freezes = normalFreezes(t.Freezes)
	t.ApprovalRequired = normalGuarded(t.ApprovalRequired)
	t.Metadata = normalMetadata(t.Metadata)
	return t, nil
}

// validateEpoch refuses a new not_before in the future: until then every token,
// the newest too, would be refused.
func (t Tenant) validateEpoch(now time.Time) error {
	var broken fields
	if t.NotBefore != nil && t.NotBefore.Before(endOfTime) && t.NotBefore.After(now.Add(t.Caching.ClockSkew)) {
		broken.add("not_before", "must not be later than now, by more than clock_skew_seconds (%d)", seconds(t.Caching.ClockSkew))
	}
	return broken.fieldErrors()
}

func (t Tenant) validate() error {
	var broken fields
	validateName(&broken, t.Name)
	validateIssuer(&broken, t.OwnIssuer)
	validateDomain(&broken, t.CustomDomain)
	t.Caching.validate(&broken)
	validateFreezes(&broken, t.Freezes)
	validateGuarded(&broken, t.ApprovalRequired)
	validateMetadata(&broken, t.Metadata)
	if t.NotBefore != nil && (t.NotBefore.Before(time.Unix(0, 0)) || t.NotBefore.After(endOfTime)) {
		broken.add("not_before", "must be a time from 1970 to 9999")
	}
	if t.Status != Active && t.Status != Suspended {
		broken.add("status", "must be active or suspended")
	}
	if err := broken.fieldErrors(); err != nil {
		return err
	}
	if t.Slug == PlatformSlug && t.Status != Active {
		return ErrBuiltIn
	}
	return nil
}

// difference says what tells two states of a tenant apart, in the API's words,
// as the details of an audit event; status has events of its own.
func difference(before, after Tenant) map[string]any {
	d := map[string]any{}
	for name, value := range settings(after) {
		if was := settings(before)[name]; !reflect.DeepEqual(was, value) {
			d[name] = map[string]any{"before": was, "after": value}
		}
	}
	return d
}

// settings are what Change can change, as values with a JSON form.
func settings(t Tenant) map[string]any {
	optional := func(s string) any {
		if s == "" {
			return nil
		}
		return s
	}
	var notBefore any
	if t.NotBefore != nil {
		notBefore = t.NotBefore.UTC().Format(time.RFC3339Nano)
	}
	return map[string]any{
		"name": t.Name, "issuer": optional(t.OwnIssuer), "custom_domain": optional(t.CustomDomain), "not_before": notBefore,
		"jwks_max_age_seconds":                seconds(t.Caching.MaxAge),
		"jwks_stale_while_revalidate_seconds": seconds(t.Caching.StaleWhileRevalidate),
		"jwks_stale_if_error_seconds":         seconds(t.Caching.StaleIfError),
		"clock_skew_seconds":                  seconds(t.Caching.ClockSkew),
		"freeze_windows":                      freezeDetails(t.Freezes),
		"approval_required":                   guardedColumn(t.ApprovalRequired),
		"metadata":                            metadataDetails(t.Metadata),
	}
}

func truncated(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	u := t.UTC().Truncate(time.Microsecond)
	return &u
}
