// Package console is the web console: pages by which people see the keys of a
// tenant and act on them. It is internal to Keyward: no compatibility promise.
//
// It holds no rule of its own. Every page is made of answers of the admin API,
// which it calls in the same process through [Config.API] (api.go): the request
// goes through the same routes as one from the network, with the same table of
// roles, approvals, audit events, limits and errors. The facts of a page of the list of
// tenants come from the same stores for all its rows at once ([Config.Overviews]), since
// the API answers them tenant by tenant, and so do the approvals that wait for all tenants
// ([Config.Waiting]). The only difference is how
// the caller is known: by the session of the console, and no longer by a
// credential in a header. Which buttons a page has is asked of the same table
// ([Config.Allows]).
//
// It guarantees that no request from another origin changes anything (console.go),
// that a session lasts no longer than its credential, and that nothing a tenant
// wrote is ever markup: pages are made by html/template, carry no inline script or
// style, and forbid both (security.go).
//
// It trusts the admin API to decide who may see what, and its answers to be true.
package console
