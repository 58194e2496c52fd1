// Package bench measures Keyward beside what bounds it, as ratios of one run on
// one machine: the service beside bare echo handlers and unguarded tables,
// package jwks beside the libraries that Go services verify tokens with otherwise
// and beside bare cryptography. RESULTS.md says what it last found.
//
//	go test -run '^$' -bench Ratios      # package jwks
//	go test -run '^$' -bench 'Tokens|Batch|JWKS|Rotation|Footprint'
//	go test -run '^$' -bench Growth -benchtime 1x
//
// KEYWARD_BENCH_TENANTS is how many tenants those have that need some;
// KEYWARD_BENCH_URL names a database that was seeded before, for JWKS and
// Footprint.
//
// It is a module of its own, so that users of Keyward inherit none of those
// libraries. Internal to Keyward: no compatibility promise.
package bench
