package plural

import "testing"

func TestCount(t *testing.T) {
	for _, c := range []struct {
		n          int
		noun, want string
	}{{0, "key", "0 keys"}, {1, "key", "1 key"}, {2, "key", "2 keys"}, {1, "policy", "1 policy"}, {3, "policy", "3 policies"}, {2, "API key", "2 API keys"}, {2, "day", "2 days"}} {
		if got := Count(c.n, c.noun); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
	if Verb(int64(1), "is", "are") != "is" || Verb(uint64(0), "is", "are") != "are" {
		t.Error("the verb does not agree")
	}
}
