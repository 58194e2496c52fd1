package httpapi

import (
	"bufio"
	"compress/gzip"
	"encoding/csv"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/keyward/keyward/audit"
)

// Media types of an export.
const (
	mimeNDJSON = "application/x-ndjson"
	mimeCSV    = "text/csv" // RFC 7111 section 5.1
)

const (
	exportsAtOnce  = 40               // in a process, a tenth of them by one tenant's credentials
	exportBuffer   = 64 << 10         // bytes, before they are compressed
	exportPatience = 30 * time.Second // for a reader to take a buffer
)

// export is an answer that is written while it is read from the database.
type export struct {
	form      string
	request   *http.Request
	out       *echo.Response
	deadlines *http.ResponseController
	buffer    *bufio.Writer
	zip       *gzip.Writer // nil: the client does not take it
	rows      *csv.Writer  // nil: NDJSON
	line      []byte
}

// export answers with all that a filter chooses. What goes wrong before the
// first bytes are written is a problem like any other. Later there is no way
// but to break the connection off: whoever reads must not take a part for the
// whole.
func (s *auditServer) export(c echo.Context, form string, f audit.Filter) error {
	leave, err := s.exports.take(of(c).TenantID)
	if err != nil {
		return err
	}
	defer leave()
	x := newExport(c, form)
	err = s.cfg.Audit.Export(c.Request().Context(), f, x.event)
	if err == nil {
		err = x.end()
	}
	if err != nil && c.Response().Committed {
		s.cfg.Log.LogAttrs(c.Request().Context(), slog.LevelWarn, "export broken off",
			slog.String("request_id", c.Response().Header().Get(echo.HeaderXRequestID)), slog.Any("error", err))
		x.hangUp()
	}
	return err
}

func newExport(c echo.Context, form string) *export {
	x := &export{form: form, request: c.Request(), out: c.Response(), deadlines: http.NewResponseController(c.Response())}
	x.buffer = bufio.NewWriterSize(x, exportBuffer)
	if form == mimeCSV {
		x.rows = csv.NewWriter(x.buffer)
		x.rows.UseCRLF = true // RFC 4180 section 2
		_ = x.rows.Write(audit.CSVColumns)
	}
	if acceptsGzip(c.Request().Header["Accept-Encoding"]) {
		x.zip, _ = gzip.NewWriterLevel(unbuffered{x}, gzip.BestSpeed) // the level exists
	}
	return x
}

// begin is called before the first byte: a problem has other headers.
func (x *export) begin() {
	h := x.out.Header()
	h.Set(echo.HeaderContentType, mimeNDJSON)
	h.Set(echo.HeaderContentDisposition, `attachment; filename="audit.ndjson"`)
	if x.form == mimeCSV {
		h.Set(echo.HeaderContentType, mimeCSV+"; charset=utf-8; header=present")
		h.Set(echo.HeaderContentDisposition, `attachment; filename="audit.csv"`)
	}
	if x.zip != nil {
		h.Set(echo.HeaderContentEncoding, "gzip")
	}
	if x.request.ProtoMajor == 1 {
		h.Set("Connection", "close") // the deadlines are the connection's
	}
	x.out.WriteHeader(http.StatusOK)
}

func (x *export) event(e audit.Event) error {
	if x.rows != nil {
		return x.rows.Write(audit.CSVRow(e))
	}
	x.line = audit.AppendLine(x.line[:0], e)
	_, err := x.buffer.Write(x.line)
	return err
}

// Write sends a buffer on its way.
func (x *export) Write(p []byte) (n int, err error) {
	if x.zip == nil {
		return unbuffered{x}.Write(p)
	}
	return x.zip.Write(p)
}

// unbuffered writes to the client, which has its time for each piece, whatever
// the server's own limit for an answer is.
type unbuffered struct{ *export }

func (u unbuffered) Write(p []byte) (int, error) {
	if !u.out.Committed {
		u.begin()
	}
	_ = u.deadlines.SetWriteDeadline(time.Now().Add(exportPatience)) // without one: until it leaves
	n, err := u.out.Write(p)
	if err == nil {
		err = u.deadlines.Flush()
	}
	return n, err
}

// hangUp breaks the connection off, or the stream in HTTP/2, before the last
// chunk. HTTP/1.0, which some proxies speak, has no chunks: there an answer ends
// with its connection, and one that is cut short differs by a reset only.
func (x *export) hangUp() {
	if !x.request.ProtoAtLeast(1, 1) {
		if conn, _, err := x.deadlines.Hijack(); err == nil {
			reset(conn)
		}
	}
	panic(http.ErrAbortHandler)
}

func reset(conn net.Conn) {
	if secured, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = secured.NetConn() // closing TLS would say that this is the end
	}
	if tcp, ok := conn.(interface{ SetLinger(sec int) error }); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// end writes what is left.
func (x *export) end() error {
	if x.rows != nil {
		x.rows.Flush()
		if err := x.rows.Error(); err != nil {
			return err
		}
	}
	if err := x.buffer.Flush(); err != nil {
		return err
	}
	if x.zip != nil {
		return x.zip.Close()
	}
	if !x.out.Committed {
		x.begin() // nothing was chosen
	}
	return nil
}
