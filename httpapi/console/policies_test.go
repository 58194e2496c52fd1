package console

import (
	"strings"
	"testing"
)

// While somebody types, the verdict is all of a refusal that they see: it names the fields, or
// the reason when no field is at fault.
func TestVerdictSaysWhy(t *testing.T) {
	const why = "The tenant's set of keys is full."
	for want, p := range map[string]policyPage{
		why:            {form: form{Error: why}},
		"Grace period": {form: form{Error: why, Fields: map[string]string{"grace_period_seconds": "too short"}}},
	} {
		if got := p.Verdict(); got != "✕ Not accepted as it is. "+want {
			t.Errorf("got %q, want %q in it", got, want)
		}
	}
	if got := (policyPage{}).Verdict(); !strings.HasPrefix(got, "✓") {
		t.Errorf("without a refusal: %q", got)
	}
}
