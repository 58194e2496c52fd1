package main

import (
	"net/http"
	"net/http/pprof"
	"net/netip"
	"strings"
)

// withProfiles adds /debug/pprof/ to the handler of the admin address, if KEYWARD_PPROF
// asks for it. Only clients on this machine, as through kubectl port-forward, may read
// profiles; a request that a proxy has forwarded is not local. The command line is left
// out: flags may have secrets.
func (a *app) withProfiles(next http.Handler) http.Handler {
	if !a.cfg.pprof {
		return next
	}
	mux := http.NewServeMux()
	for path, h := range map[string]http.HandlerFunc{
		"/debug/pprof/": pprof.Index, "/debug/pprof/profile": pprof.Profile, "/debug/pprof/trace": pprof.Trace, "/debug/pprof/symbol": pprof.Symbol,
		"/debug/pprof/cmdline": http.NotFound,
	} {
		mux.Handle(path, localOnly(h))
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/debug/pprof/") {
			mux.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// localOnly answers 404 to clients on other machines.
func localOnly(next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		peer, err := netip.ParseAddrPort(r.RemoteAddr)
		forwarded := r.Header.Get("Forwarded") + r.Header.Get("X-Forwarded-For") + r.Header.Get("Via")
		if err != nil || !peer.Addr().Unmap().IsLoopback() || forwarded != "" {
			http.NotFound(w, r)
			return
		}
		next(w, r)
	})
}
