package seal

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// kmsOptions is what a URI may say behind its "?": how a KMS is called, never
// with which credentials.
type kmsOptions struct {
	timeout time.Duration // of one attempt
	tls     string        // hcvault: "", "off" or "off-over-network"
}

// splitKMS splits "//key?options" into key and options. known are the options
// of this kind of KMS. It also returns the stored spelling of the options,
// which leaves out defaults.
func splitKMS(rest string, known ...string) (key string, o kmsOptions, canonical string, err error) {
	key, query, _ := strings.Cut(rest, "?")
	key, found := strings.CutPrefix(key, "//")
	values, err := url.ParseQuery(query)
	if !found || err != nil || strings.ContainsAny(rest, "#@") {
		return "", o, "", fmt.Errorf("%w: want the key behind //, and no credentials: these come from the environment", ErrBadURI)
	}
	o = kmsOptions{timeout: callTimeout, tls: values.Get("tls")}
	for name, value := range values {
		if !slices.Contains(known, name) || len(value) != 1 {
			return "", o, "", fmt.Errorf("%w: the options are %s, each at most once", ErrBadURI, strings.Join(known, " and "))
		}
	}
	if text := values.Get("timeout"); text != "" {
		if o.timeout, err = time.ParseDuration(text); err != nil || o.timeout < time.Millisecond || o.timeout > time.Minute {
			return "", o, "", fmt.Errorf("%w: want a timeout from 1ms to 1m, as in timeout=5s", ErrBadURI)
		}
	}
	return key, o, o.encodeQuery(), nil
}

func (o kmsOptions) encodeQuery() string {
	values := url.Values{}
	if o.timeout != callTimeout {
		values.Set("timeout", o.timeout.String())
	}
	if o.tls != "" {
		values.Set("tls", o.tls)
	}
	if len(values) == 0 {
		return ""
	}
	return "?" + values.Encode()
}
