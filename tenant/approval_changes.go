package tenant

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// ApprovalChange is a value of a setting or of a policy that a request would change, as it
// was when the request was made. It is part of what an approver approves.
type ApprovalChange struct {
	Field   string          `json:"field"`            // as the API names it
	Alg     string          `json:"alg,omitempty"`    // of the policy that has the field
	Before  json.RawMessage `json:"before,omitempty"` // JSON; none: it was not set
	After   json.RawMessage `json:"after,omitempty"`
	TooLong bool            `json:"too_long,omitempty"` // a value is too long to be shown, and left out
}

// shownValue returns what an approver is shown that a field becomes.
func (c ApprovalChange) shownValue() string {
	return strings.Join([]string{c.Alg, c.Field, strconv.FormatBool(c.TooLong), string(c.After)}, " ")
}

// maxShownValue is how many bytes of JSON a value of an ApprovalChange may have.
const maxShownValue = 2000

// NewApprovalChanges compares JSON values by field, in the order of their fields. alg names
// the policy that has them. before is nil for what does not exist yet.
func NewApprovalChanges(alg string, before, after map[string]any) ([]ApprovalChange, error) {
	var changes []ApprovalChange
	for _, field := range slices.Sorted(maps.Keys(after)) {
		c := ApprovalChange{Field: field, Alg: alg}
		var err1, err2 error
		if was := before[field]; was != nil {
			c.Before, err1 = json.Marshal(was)
		}
		if is := after[field]; is != nil {
			c.After, err2 = json.Marshal(is)
		}
		if err := cmp.Or(err1, err2); err != nil {
			return nil, err
		}
		if string(c.Before) == string(c.After) {
			continue
		}
		if c.TooLong = max(len(c.Before), len(c.After)) > maxShownValue; c.TooLong {
			c.Before, c.After = nil, nil
		}
		changes = append(changes, c)
	}
	return changes, nil
}

// settingChanges returns the settings in which two states of a tenant differ.
func settingChanges(before, after Tenant) ([]ApprovalChange, error) {
	was, now := settingsByName(before), settingsByName(after)
	was["status"], now["status"] = before.Status, after.Status
	return NewApprovalChanges("", was, now)
}

// changesColumn returns changes as they are stored, nil for none.
func changesColumn(changes []ApprovalChange) (json.RawMessage, error) {
	if len(changes) == 0 {
		return nil, nil
	}
	return json.Marshal(changes)
}
