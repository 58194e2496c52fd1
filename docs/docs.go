// Package docs holds the pages of the documentation that the program itself
// shows. Internal to Keyward: no compatibility promise.
package docs

import _ "embed"

// Verifiers is verifiers.md: how verifiers behave, and an example for each.
//
//go:embed verifiers.md
var Verifiers string
