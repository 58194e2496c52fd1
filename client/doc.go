// Package client speaks Keyward's HTTP API: every operation of its OpenAPI
// document as a method, errors as a [*Problem], lists as iterators, events as
// a stream that goes on where it was cut off.
//
//	c, err := client.New("https://keys.example.com", os.Getenv("KEYWARD_API_KEY"))
//	signed, err := c.SignToken(ctx, "acme", client.SignTokenRequest{Claims: client.JSONObject(`{"sub":"alice"}`)})
//
// What the package guarantees:
//   - The credential goes to the URL that [New] was given and nowhere else: no
//     redirect is followed, and plain http only works on this machine unless
//     [AllowHTTP] says otherwise. Neither it nor a request's body is ever part
//     of an error.
//   - A failure that passes is tried again, a few times and not before the
//     server's Retry-After, but only where a second request does no harm: GET,
//     HEAD and PUT, and what has an Idempotency-Key (see [Once]).
//   - An answer is at most 16 MiB and 30 seconds long, but for streams and
//     what is asked for [Patiently].
//
// Methods and models are generated from the document that the server itself
// serves at /openapi.yaml. [Client.Requests] has the same operations with the
// plain *http.Response, for other forms of an answer: PEM, CSV, NDJSON.
package client
