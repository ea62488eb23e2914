// SPDX-License-Identifier: Apache-2.0

package fakellm

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// errEnd ends a connection on purpose.
var errEnd = errors.New("connection ended by the script")

// answer writes the reply to one request. The head is written by hand: a library would sort it and mend its case.
type answer struct {
	s      *Server
	c, raw net.Conn
	br     *bufio.Reader
	req    *http.Request
	body   []byte
	id     string // hex digest of the body; all that looks random is made of it
}

// serve tells whether the connection can be used again.
func (a *answer) serve() bool {
	other, err := a.other()
	switch path := a.req.URL.Path; {
	case other:
	case a.req.Header.Get("Authorization") == "":
		err = a.fail(401, "invalid_request_error", "", "You didn't provide an API key.")
	case a.req.Method == "POST" && path == "/v1/chat/completions":
		err = a.chat()
	case a.req.Method == "POST" && path == "/v1/responses":
		err = a.responses()
	case a.req.Method == "POST" && path == "/v1/completions":
		err = a.completions()
	case a.req.Method == "POST" && path == "/v1/embeddings":
		err = a.embeddings()
	case a.req.Method == "GET" && path == "/v1/models":
		err = a.json(200, modelList{Object: "list", Data: []modelInfo{
			{ID: "gpt-4o", Object: "model", Created: 1715367049, OwnedBy: "system"},
			{ID: "gpt-4o-mini", Object: "model", Created: 1721172741, OwnedBy: "system"},
			{ID: "text-embedding-3-small", Object: "model", Created: 1705948997, OwnedBy: "system"},
		}}, false, whole)
	default:
		err = a.fail(404, "invalid_request_error", "", fmt.Sprintf("Invalid URL (%s %s)", a.req.Method, path))
	}
	return err == nil
}

// fail answers with an error in OpenAI's shape.
func (a *answer) fail(status int, typ, code, message string) error {
	e := apiError{Message: message, Type: typ}
	if code != "" {
		e.Code = &code
	}
	return a.json(status, struct {
		Error apiError `json:"error"`
	}{e}, false, whole)
}

// ending is how a reply ends.
type ending int

const (
	whole ending = iota
	endReset
	endCut
	endStall
	endLie
	endSurplus
)

// surplus is what endSurplus sends behind an answer.
const surplus = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 4\r\n\r\nevil"

// json sends v as the whole reply; compressed replies are chunked, others have a length, as the real ones.
func (a *answer) json(status int, v any, compress bool, end ending) error {
	body, err := encode(v)
	if err != nil {
		return err
	}
	if compress {
		body = deflate(body)
	}
	head := a.head(status, "application/json", compress, len(body))
	if compress {
		body = append(fmt.Appendf(nil, "%x\r\n", len(body)), append(body, "\r\n0\r\n\r\n"...)...)
	}
	switch end {
	case whole:
	case endLie:
		head = bytes.Replace(head, fmt.Appendf(nil, "Content-Length: %d\r\n", len(body)), fmt.Appendf(nil, "Content-Length: %d\r\n", len(body)-10), 1)
	case endSurplus:
		body = append(body, surplus...)
	default:
		if _, err := a.c.Write(append(head, body[:len(body)/2]...)); err != nil {
			return err
		}
		return a.hangUp(end)
	}
	_, err = a.c.Write(append(head, body...))
	return err
}

func deflate(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.Write(b) // a bytes.Buffer takes everything
	w.Close()
	return out.Bytes()
}

// encode is json.Marshal without the escapes for HTML, which the real API does not make.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("encoding the reply: %w", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// head is a reply head in the order and the mixed case of the real service, two cookies and one odd name included.
func (a *answer) head(status int, contentType string, compressed bool, length int) []byte {
	h := fmt.Appendf(nil, "HTTP/1.1 %d %s\r\n", status, http.StatusText(status))
	add := func(name, value string) { h = append(h, name+": "+value+"\r\n"...) }
	add("Date", a.s.opts.Clock().UTC().Format(http.TimeFormat))
	add("Content-Type", contentType)
	if stream := contentType != "application/json"; stream || compressed {
		add("Transfer-Encoding", "chunked")
	} else {
		add("Content-Length", strconv.Itoa(length))
	}
	add("Connection", "keep-alive")
	add("access-control-expose-headers", "X-Request-ID")
	add("openai-organization", "org-fake")
	add("openai-processing-ms", "12")
	add("openai-version", "2020-10-01")
	add("x-ratelimit-limit-requests", "10000")
	add("x-ratelimit-remaining-requests", "9999")
	add("x-request-id", "req_"+a.id[:32])
	add("X-oDD-cAsE", "kept  as it is")
	add("strict-transport-security", "max-age=31536000; includeSubDomains; preload")
	add("cf-cache-status", "DYNAMIC")
	add("Set-Cookie", "__cf_bm="+a.id[:24]+"; path=/; HttpOnly; Secure; SameSite=None")
	add("X-Content-Type-Options", "nosniff")
	add("Set-Cookie", "_cfuvid="+a.id[24:48]+"; path=/; HttpOnly; Secure; SameSite=None")
	add("Server", "cloudflare")
	add("CF-RAY", a.id[:16]+"-FRA")
	if compressed {
		add("Content-Encoding", "gzip")
	}
	add("alt-svc", `h3=":443"; ma=86400`)
	return append(h, "\r\n"...)
}

// hangUp ends the connection before the reply is whole.
func (a *answer) hangUp(end ending) error {
	if end == endStall {
		return a.hang()
	}
	if end == endReset {
		if t, ok := a.raw.(*net.TCPConn); ok {
			if err := t.SetLinger(0); err != nil {
				return err
			}
		}
		a.raw.Close() // before TLS can say goodbye
	} else {
		a.c.Close()
	}
	return errEnd
}

// hang waits until the client gives up or the server closes.
func (a *answer) hang() error {
	_, err := a.br.Peek(1)
	if err == nil {
		err = errEnd
	}
	return err
}

// events sends server-sent events.
func (a *answer) events(events [][]byte, pace time.Duration, compress bool, end ending) error {
	return a.send("text/event-stream; charset=utf-8", events, pace, compress, end)
}

// send sends the events of a stream, one chunk and one write each, pace apart by the clock of the first.
func (a *answer) send(kind string, events [][]byte, pace time.Duration, compress bool, end ending) error {
	if _, err := a.c.Write(a.head(200, kind, compress, 0)); err != nil {
		return err
	}
	stop := len(events)
	if end == endReset || end == endCut || end == endStall {
		stop /= 2
	}
	var zip *gzip.Writer
	var zipped bytes.Buffer
	if compress {
		zip = gzip.NewWriter(&zipped)
	}
	start := time.Now()
	for i, e := range events[:stop] {
		if d := time.Until(start.Add(time.Duration(i) * pace)); d > 0 {
			select {
			case <-time.After(d):
			case <-a.s.ctx.Done():
				return errEnd
			}
		}
		if zip != nil {
			zipped.Reset()
			zip.Write(e)
			if zip.Flush(); i == len(events)-1 {
				zip.Close()
			}
			e = zipped.Bytes()
		}
		size := len(e)
		if end == endLie && i == stop/2 {
			size -= 5
		}
		if _, err := fmt.Fprintf(a.c, "%x\r\n%s\r\n", size, e); err != nil {
			return err
		}
	}
	last := "0\r\n\r\n"
	if end == endSurplus {
		last += surplus
	} else if end != whole && end != endLie {
		return a.hangUp(end)
	}
	_, err := a.c.Write([]byte(last))
	return err
}

// event frames one event.
func event(v any) ([]byte, error) {
	b, err := encode(v)
	return append(append([]byte("data: "), b...), "\n\n"...), err
}

func modelExists(name string) bool {
	return strings.HasPrefix(name, "gpt-") || strings.HasPrefix(name, "o") || strings.HasPrefix(name, "text-embedding-")
}
