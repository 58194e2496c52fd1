package browsertest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"sync"
	"time"
)

// message is a command, its answer or an event. Messages are JSON texts, each with
// a NUL byte behind it.
type message struct {
	ID      int             `json:"id,omitempty"`
	Session string          `json:"sessionId,omitempty"`
	Method  string          `json:"method,omitempty"`
	Params  json.RawMessage `json:"params,omitempty"`
	Result  json.RawMessage `json:"result,omitempty"`
	Error   *struct {
		Message string `json:"message"`
	} `json:"error,omitempty"`
}

// conn is a connection to the browser.
type conn struct {
	mu      sync.Mutex
	out     io.Writer
	last    int
	waiting map[int]chan message
	pages   map[string]*Page // by session
	closed  chan struct{}
}

func newConn(out io.Writer, in io.Reader) *conn {
	c := &conn{out: out, waiting: map[int]chan message{}, pages: map[string]*Page{}, closed: make(chan struct{})}
	go c.read(bufio.NewReader(in))
	return c
}

// read dispatches messages until the browser closes its end.
func (c *conn) read(in *bufio.Reader) {
	defer close(c.closed)
	for {
		text, err := in.ReadBytes(0)
		if err != nil {
			return
		}
		var m message
		if json.Unmarshal(bytes.TrimSuffix(text, []byte{0}), &m) != nil {
			continue
		}
		c.dispatch(m)
	}
}

func (c *conn) dispatch(m message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if m.Method == "" {
		if answer := c.waiting[m.ID]; answer != nil {
			delete(c.waiting, m.ID)
			answer <- m
		}
		return
	}
	if page := c.pages[m.Session]; page != nil {
		page.handle(m)
	}
}

// send writes a command and returns where its answer arrives. The caller holds
// the lock.
func (c *conn) send(session, method string, params any) (<-chan message, error) {
	raw, err := json.Marshal(params)
	if err != nil {
		return nil, err
	}
	c.last++
	m := message{ID: c.last, Session: session, Method: method, Params: raw}
	if params == nil {
		m.Params = nil
	}
	text, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	answer := make(chan message, 1)
	c.waiting[m.ID] = answer
	_, err = c.out.Write(append(text, 0))
	return answer, err
}

// call sends a command and decodes its result, if result is not nil.
func (c *conn) call(session, method string, params, result any) error {
	c.mu.Lock()
	answer, err := c.send(session, method, params)
	c.mu.Unlock()
	if err != nil {
		return err
	}
	select {
	case m := <-answer:
		if m.Error != nil {
			return fmt.Errorf("browsertest: %s: %s", method, m.Error.Message)
		}
		if result == nil {
			return nil
		}
		return json.Unmarshal(m.Result, result)
	case <-c.closed:
		return errors.New("browsertest: the browser has exited")
	case <-time.After(patience):
		return fmt.Errorf("browsertest: %s: no answer within %s", method, patience)
	}
}

// forget drops the pages of a browser context that has ended.
func (c *conn) forget(b *Browser) {
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.DeleteFunc(c.pages, func(_ string, page *Page) bool { return page.b == b })
}
