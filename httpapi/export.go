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
	exportsAtOnce  = 40               // in a process, unless Streams.Exports says otherwise
	exportBuffer   = 64 << 10         // bytes, before they are compressed
	exportPatience = 30 * time.Second // for a reader to receive a buffer
)

// export writes an answer while its rows are read from the database.
type export struct {
	form      string
	name      string // of the file, without its ending
	request   *http.Request
	out       *echo.Response
	deadlines *http.ResponseController
	buffer    *bufio.Writer
	zip       *gzip.Writer // nil: the client does not accept gzip
	rows      *csv.Writer  // nil: NDJSON
	line      []byte
}

// serveExport answers with all events that match a filter. An error before the
// first byte is answered with a problem. After that it aborts the connection,
// so that no client takes a part for the whole.
func (s *auditServer) serveExport(c echo.Context, form string, f audit.Filter) error {
	leave, err := s.exports.takeSlot(callOf(c).TenantID)
	if err != nil {
		return err
	}
	defer leave()
	x := newExport(c, form)
	return s.completeExport(c, x, func() error { return s.cfg.Audit.Export(callOf(c).open, f, x.writeEvent) })
}

// completeExport runs write and sends the rest of what it wrote, or aborts.
func (s *auditServer) completeExport(c echo.Context, x *export, write func() error) error {
	err := write()
	if err == nil {
		err = x.finish()
	}
	if err != nil && c.Response().Committed {
		s.cfg.Log.LogAttrs(c.Request().Context(), slog.LevelWarn, "audit export aborted",
			slog.String("request_id", c.Response().Header().Get(echo.HeaderXRequestID)), slog.Any("error", err))
		x.abort()
	}
	return err
}

func newExport(c echo.Context, form string) *export {
	x := &export{form: form, name: "audit", request: c.Request(), out: c.Response(), deadlines: http.NewResponseController(c.Response())}
	x.buffer = bufio.NewWriterSize(x, exportBuffer)
	if form == mimeCSV {
		x.rows = csv.NewWriter(x.buffer)
		x.rows.UseCRLF = true // RFC 4180 section 2
		_ = x.rows.Write(audit.CSVColumns)
	}
	if acceptsGzip(c.Request().Header["Accept-Encoding"]) {
		x.zip, _ = gzip.NewWriterLevel(flushingWriter{x}, gzip.BestSpeed) // the level exists
	}
	return x
}

// writeHeader sends the headers of an export, just before its first byte, since
// a problem has other headers.
func (x *export) writeHeader() {
	h := x.out.Header()
	h.Set(echo.HeaderContentType, mimeNDJSON)
	h.Set(echo.HeaderContentDisposition, `attachment; filename="`+x.name+`.ndjson"`)
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

func (x *export) writeEvent(e audit.Event) error {
	if x.rows != nil {
		return x.rows.Write(audit.CSVRow(e))
	}
	x.line = audit.AppendLine(x.line[:0], e)
	_, err := x.buffer.Write(x.line)
	return err
}

// Write sends a buffer to the client, compressed if the client accepts it.
func (x *export) Write(p []byte) (n int, err error) {
	if x.zip == nil {
		return flushingWriter{x}.Write(p)
	}
	return x.zip.Write(p)
}

// flushingWriter writes to the client and flushes. Each write has its own
// deadline, independent of the server's write timeout.
type flushingWriter struct{ *export }

func (u flushingWriter) Write(p []byte) (int, error) {
	if !u.out.Committed {
		u.writeHeader()
	}
	_ = u.deadlines.SetWriteDeadline(time.Now().Add(exportPatience)) // if unsupported: until the client disconnects
	n, err := u.out.Write(p)
	if err == nil {
		err = u.deadlines.Flush()
	}
	return n, err
}

// abort closes the connection, or resets the HTTP/2 stream, before the last
// chunk. HTTP/1.0, still used by some proxies, has no chunks: there only a TCP
// reset marks an answer as incomplete.
func (x *export) abort() {
	if !x.request.ProtoAtLeast(1, 1) {
		if conn, _, err := x.deadlines.Hijack(); err == nil {
			resetConn(conn)
		}
	}
	panic(http.ErrAbortHandler)
}

func resetConn(conn net.Conn) {
	if secured, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = secured.NetConn() // a TLS close would mark the answer as complete
	}
	if tcp, ok := conn.(interface{ SetLinger(sec int) error }); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// finish writes the buffered rest.
func (x *export) finish() error {
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
		x.writeHeader() // no event matched
	}
	return nil
}
