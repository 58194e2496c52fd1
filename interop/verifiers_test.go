package interop

import "testing"

func compareVerifiers(t *testing.T, seen []observation) {}
