package console

import (
	"mime"
	"net/http"
	"net/url"

	"github.com/keyward/keyward/client"
)

// exports are the forms of an exported history, with the ends of their files' names.
var exports = map[string]string{"csv": "text/csv", "ndjson": "application/x-ndjson"}

// exportHistory sends the events that the filters of a history leave as a file.
func exportHistory(v *visit) error {
	if err := v.scope(); err != nil {
		return err
	}
	if !v.Can(v.historyOperation()) {
		return forbidden
	}
	q := v.r.URL.Query()
	format := q.Get("format")
	accept, known := exports[format]
	if !known {
		return errAct
	}
	q.Del("format")
	path, name := "/v1/audit", "history"
	if v.Tenant != nil {
		path, name = "/v1/tenants/"+url.PathEscape(v.Tenant.Slug)+"/audit", v.Tenant.Slug+"-history"
	}
	v.attach(name + "." + format)
	return v.passOn(path+"?"+q.Encode(), accept)
}

// downloadCheckpoint sends the signed end of a history as a file, to be kept elsewhere.
func downloadCheckpoint(v *visit) error {
	if err := v.scope(); err != nil {
		return err
	}
	var jws string
	var err error
	name := "all-tenants"
	if v.Tenant != nil {
		var c *client.AuditCheckpoint
		if c, err = v.api.GetAuditCheckpoint(v.r.Context(), v.Tenant.Slug); err == nil {
			jws, name = c.Checkpoint, v.Tenant.Slug
		}
	} else {
		var c *client.PlatformCheckpoint
		if c, err = v.api.GetPlatformCheckpoint(v.r.Context(), nil); err == nil {
			jws = c.Checkpoint
		}
	}
	if err != nil {
		return err
	}
	v.attach(name + "-" + v.Now.Format("2006-01-02T150405Z") + ".checkpoint.jws")
	v.w.Header().Set("Content-Type", "application/jose")
	_, err = v.w.Write([]byte(jws + "\n")) // #nosec G705 -- the type is none that browsers render
	return err
}

func (v *visit) historyOperation() string {
	if v.Tenant == nil {
		return "listPlatformAuditEvents"
	}
	return "listAuditEvents"
}

// attach makes the answer a file of this name.
func (v *visit) attach(name string) {
	v.w.Header().Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": name}))
}

// passOn answers what the API answers to a GET, while it is being made.
func (v *visit) passOn(path, accept string) error {
	req, err := http.NewRequestWithContext(v.r.Context(), http.MethodGet, path, http.NoBody) // #nosec G704 -- answered in this process
	if err != nil {
		return err
	}
	req.RemoteAddr, req.Host, req.TLS, req.RequestURI = v.r.RemoteAddr, v.r.Host, v.r.TLS, path
	req.Proto, req.ProtoMajor, req.ProtoMinor = v.r.Proto, v.r.ProtoMajor, v.r.ProtoMinor
	if accept != "" {
		req.Header.Set("Accept", accept)
	}
	if last := v.r.Header["Last-Event-Id"]; last != nil {
		req.Header["Last-Event-Id"] = last
	}
	req.Header.Set("X-Request-Id", v.w.Header().Get("X-Request-Id"))
	v.c.cfg.API(v.w, req, v.caller)
	return nil
}
