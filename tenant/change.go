package tenant

import (
	"encoding/json"
	"reflect"
	"time"
)

// Optional is a field of a Change that may be left out.
type Optional[T any] struct {
	Value T
	Set   bool
}

// Some returns an Optional that is set to v.
func Some[T any](v T) Optional[T] { return Optional[T]{Value: v, Set: true} }

func (o Optional[T]) applyTo(v *T) {
	if o.Set {
		*v = o.Value
	}
}

// Change is a request for new settings of a tenant. Fields that are not set stay as
// they are. Empty texts and a nil NotBefore clear; a duration is cleared by setting
// it to the one in [DefaultCaching].
type Change struct {
	Name                 Optional[string]
	Issuer               Optional[string]
	CustomDomain         Optional[string]
	MaxAge               Optional[time.Duration]
	StaleWhileRevalidate Optional[time.Duration]
	StaleIfError         Optional[time.Duration]
	ClockSkew            Optional[time.Duration]
	NotBefore            Optional[*time.Time]
	Freezes              Optional[[]Freeze]        // replaces all
	Status               Optional[Status]          // Active or Suspended
	ApprovalRequired     Optional[[]Operation]     // replaces all
	Metadata             Optional[json.RawMessage] // replaces all members; empty, null and {} clear
	JWKSPath             Optional[string]
	JWKSHeaders          Optional[map[string]string] // replaces all

	// OnlyVerifiedHosts is set for a change by the tenant itself, which may name only
	// hosts that it has verified. Whether a name is taken it does not learn.
	OnlyVerifiedHosts bool
}

// apply returns t with the change made at now. The error is a *FieldErrors, or
// ErrBuiltIn.
func (c Change) apply(t Tenant, now time.Time) (Tenant, error) {
	c.Name.applyTo(&t.Name)
	c.Issuer.applyTo(&t.OwnIssuer)
	c.CustomDomain.applyTo(&t.CustomDomain)
	c.MaxAge.applyTo(&t.Caching.MaxAge)
	c.StaleWhileRevalidate.applyTo(&t.Caching.StaleWhileRevalidate)
	c.StaleIfError.applyTo(&t.Caching.StaleIfError)
	c.ClockSkew.applyTo(&t.Caching.ClockSkew)
	c.Status.applyTo(&t.Status)
	t.CustomDomain = LowerDomain(t.CustomDomain)
	if c.NotBefore.Set {
		t.NotBefore = truncateTime(c.NotBefore.Value)
		if err := t.validateNotBefore(now); err != nil {
			return t, err
		}
	}
	c.Freezes.applyTo(&t.Freezes)
	c.ApprovalRequired.applyTo(&t.ApprovalRequired)
	c.Metadata.applyTo(&t.Metadata)
	c.JWKSPath.applyTo(&t.JWKSPath)
	c.JWKSHeaders.applyTo(&t.JWKSHeaders)
	if err := t.validate(); err != nil {
		return t, err
	}
	t.Freezes = sortFreezes(t.Freezes)
	t.ApprovalRequired = sortGuarded(t.ApprovalRequired)
	t.Metadata = canonicalMetadata(t.Metadata)
	t.JWKSHeaders = canonicalHeaders(t.JWKSHeaders)
	return t, nil
}

// validateNotBefore refuses a new not_before in the future: until then every token,
// also a new one, would be invalid.
func (t Tenant) validateNotBefore(now time.Time) error {
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
	validateJWKSPath(&broken, t.JWKSPath)
	validateHeaders(&broken, t.JWKSHeaders)
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

// changedSettings returns the settings that differ, by their name in the API, as
// details of an audit event. Changes of the status have events of their own.
func changedSettings(before, after Tenant) map[string]any {
	d := map[string]any{}
	for name, value := range settingsByName(after) {
		if was := settingsByName(before)[name]; !reflect.DeepEqual(was, value) {
			d[name] = map[string]any{"before": was, "after": value}
		}
	}
	return d
}

// settingsByName returns the settings that a Change can change, as JSON values.
func settingsByName(t Tenant) map[string]any {
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
		"jwks_path":                           optional(t.JWKSPath),
		"jwks_headers":                        headerDetails(t.JWKSHeaders),
	}
}

// truncateTime returns t in UTC with the precision of PostgreSQL.
func truncateTime(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	u := t.UTC().Truncate(time.Microsecond)
	return &u
}
