package publish

import "testing"

// The orders that stores give back, in headers and in marks, are those that were written.
func FuzzParseOrder(f *testing.F) {
	for _, text := range []string{
		Order{}.String(), Order{2, firstTenant, 7}.String(), Order{1, laterTenant, -1}.String(), "", "..", "1.2.3", "+1." + firstTenant.String() + ".1",
		"1.{" + firstTenant.String() + "}.1", "1.urn:uuid:" + firstTenant.String() + ".1", "01." + firstTenant.String() + ".1", "9223372036854775808." + firstTenant.String() + ".1",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		o, err := parseOrder(text)
		if err == nil && o.String() != text {
			t.Errorf("%q is read as %s", text, o)
		}
		if err != nil && o != (Order{}) {
			t.Errorf("%q: %s and %v", text, o, err)
		}
		if back, err := parseOrder(o.String()); err != nil || back != o || o.Compare(back) != 0 {
			t.Errorf("%s comes back as %s, %v", o, back, err)
		}
	})
}
