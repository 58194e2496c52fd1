package webhook

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/keyward/keyward/tenant"
)

// Limits of the table webhooks.
const (
	maxURL         = 2000
	maxActions     = 50
	maxDescription = 200
)

// actionPattern matches an action, or all actions on one kind of thing.
var actionPattern = regexp.MustCompile(`^[a-z_]+\.([a-z_]+|\*)$`)

// validate checks the settings of a request. A stored URL is not checked again, so
// that a webhook can be disabled even if its URL is no longer allowed. The error is
// a *tenant.FieldErrors.
func (s *Store) validate(w Webhook, newURL bool) error {
	var broken []tenant.FieldError
	add := func(field, format string, args ...any) {
		broken = append(broken, tenant.FieldError{Field: field, Message: fmt.Sprintf(format, args...)})
	}
	if newURL {
		if message := s.targets.refusal(w.URL); message != "" {
			add("url", "%s", message)
		}
	}
	if len(w.Actions) > maxActions {
		add("actions", "must be at most %d", maxActions)
	}
	for i, a := range w.Actions {
		if !actionPattern.MatchString(a) {
			add(fmt.Sprintf("actions[%d]", i), "must be an action, as in key.revoked, or all of one thing's, as in key.*")
		}
		if thing, _, _ := strings.Cut(a, "."); w.Format == SET && thing != "key" && thing != "tenant" {
			add(fmt.Sprintf("actions[%d]", i), "must be of key or tenant: a SET tells of nothing else")
		}
	}
	if w.Format != Keyward && w.Format != SET {
		add("format", "must be keyward or set")
	}
	if d := w.Description; utf8.RuneCountInString(d) > maxDescription || !utf8.ValidString(d) || strings.ContainsRune(d, 0) {
		add("description", "must be at most %d characters", maxDescription)
	}
	if w.Status != Active && w.Status != Disabled {
		add("status", "must be active or disabled")
	}
	if len(broken) == 0 {
		return nil
	}
	return &tenant.FieldErrors{Fields: broken}
}

// matchesActions reports whether a webhook with these actions gets events with
// action.
func matchesActions(actions []string, action string) bool {
	if len(actions) == 0 || slices.Contains(actions, action) {
		return true
	}
	thing, _, _ := strings.Cut(action, ".")
	return slices.Contains(actions, thing+".*")
}
