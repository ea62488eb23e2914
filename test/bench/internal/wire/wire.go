// SPDX-License-Identifier: Apache-2.0

// Package wire holds what the mock upstream and the load generator agree on:
// the tag that a prompt carries, and the bytes that a right answer has.
//
// The tag travels inside the prompt text, so it survives gateways that parse
// and rewrite the request, and each answer can be tied to its own request.
package wire

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
	"time"
)

// Spec says what one request asks of the mock.
type Spec struct {
	ID     int64         // echoed in the answer
	Bytes  int           // length of the answer text, non-stream
	Deltas int           // number of content deltas, stream
	Delay  time.Duration // between deltas
	First  time.Duration // before the answer or the first delta
	Closed bool          // a delta ends with its space, not the next one begins with it
}

const tagOpen, tagClose = "[[bench ", "]]"

// Tag renders the spec as prompt text.
func (s Spec) Tag() string {
	c := 0
	if s.Closed {
		c = 1
	}
	return fmt.Sprintf("%sid=%d b=%d n=%d d=%d f=%d c=%d%s", tagOpen, s.ID, s.Bytes, s.Deltas,
		s.Delay.Microseconds(), s.First.Microseconds(), c, tagClose)
}

// ParseTag finds the last tag in a request body.
func ParseTag(body []byte) (Spec, bool) {
	var s Spec
	i := bytes.LastIndex(body, []byte(tagOpen))
	if i < 0 {
		return s, false
	}
	rest := body[i+len(tagOpen):]
	j := bytes.Index(rest, []byte(tagClose))
	if j < 0 || j > 200 {
		return s, false
	}
	for _, f := range strings.Fields(string(rest[:j])) {
		k, v, ok := strings.Cut(f, "=")
		n, err := strconv.ParseInt(v, 10, 64)
		if !ok || err != nil || n < 0 {
			return s, false
		}
		switch k {
		case "id":
			s.ID = n
		case "b":
			s.Bytes = int(min(n, 64<<20))
		case "n":
			s.Deltas = int(min(n, 1<<20))
		case "d":
			s.Delay = time.Duration(n) * time.Microsecond
		case "f":
			s.First = time.Duration(n) * time.Microsecond
		case "c":
			s.Closed = n == 1
		}
	}
	return s, true
}

// WantsStream looks for "stream": true without parsing the whole body.
func WantsStream(body []byte) bool {
	for rest := body; ; {
		i := bytes.Index(rest, []byte(`"stream"`))
		if i < 0 {
			return false
		}
		rest = rest[i+len(`"stream"`):]
		if v, ok := bytes.CutPrefix(bytes.TrimLeft(rest, " \t\r\n"), []byte(":")); ok {
			return bytes.HasPrefix(bytes.TrimLeft(v, " \t\r\n"), []byte("true"))
		}
	}
}

const filler = "the quick brown fox jumps over the lazy dog while nine zebras vex a jolly wizard; "

// Text is deterministic text of exactly n bytes, safe inside a JSON string.
func Text(n int) string {
	if n <= 0 {
		return ""
	}
	return strings.Repeat(filler, n/len(filler)+1)[:n]
}

// Answer is the assistant text for a non-stream request.
func Answer(s Spec) string {
	head := fmt.Sprintf("answer %d: ", s.ID)
	return head + Text(s.Bytes-len(head))
}

// RequestBody renders a chat completion request with a prompt of about
// promptBytes bytes. The tag comes first in the last message.
func RequestBody(model string, s Spec, promptBytes int, stream bool) []byte {
	var b bytes.Buffer
	tag := s.Tag()
	fmt.Fprintf(&b, `{"model":%q,"messages":[{"role":"system","content":"You are a bench."},{"role":"user","content":"%s %s"}]`,
		model, tag, Text(promptBytes-len(tag)-1))
	if stream {
		b.WriteString(`,"stream":true`)
	}
	b.WriteString("}")
	return b.Bytes()
}

// ResponseBody is the exact non-stream answer to a request body: it carries
// the request's checksum, so a change of either direction shows.
func ResponseBody(dst []byte, s Spec, req []byte) []byte {
	dst = append(dst, `{"id":"chatcmpl-bench-`...)
	dst = strconv.AppendInt(dst, s.ID, 10)
	dst = append(dst, `","object":"chat.completion","created":1700000000,"model":"bench-1","choices":[{"index":0,"message":{"role":"assistant","content":"`...)
	dst = append(dst, Answer(s)...)
	dst = append(dst, `"},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":`...)
	p, c := len(req)/4, s.Bytes/4
	dst = strconv.AppendInt(dst, int64(p), 10)
	dst = append(dst, `,"completion_tokens":`...)
	dst = strconv.AppendInt(dst, int64(c), 10)
	dst = append(dst, `,"total_tokens":`...)
	dst = strconv.AppendInt(dst, int64(p+c), 10)
	dst = append(dst, `},"system_fingerprint":"fp_`...)
	dst = fmt.Appendf(dst, "%08x", crc32.ChecksumIEEE(req))
	return append(dst, "\"}\n"...)
}

// AppendChunk renders delta i of a stream as providers send them: one word with the space before it (after it if the spec
// says closed). Index and time of
// the write stand in the padding member that OpenAI puts into each chunk ("obfuscation"), not in the text, so that the
// text is what detectors see in life and the reader can tell how long each delta was on its way.
func AppendChunk(dst []byte, s Spec, i int, at time.Time) []byte {
	dst = chunkHead(dst, s.ID)
	dst = append(dst, `{"content":"`...)
	dst = append(dst, Word(i, s.Closed)...)
	dst = append(dst, `"},"finish_reason":null}],"obfuscation":"w`...)
	dst = strconv.AppendInt(dst, int64(i), 10)
	dst = append(dst, ':')
	dst = strconv.AppendInt(dst, at.UnixNano(), 10)
	return append(dst, "\"}\n\n"...)
}

var words = strings.Fields(filler)

// Word is the text of delta i.
func Word(i int, closed bool) string {
	if closed {
		return words[i%len(words)] + " "
	}
	return " " + words[i%len(words)]
}

// AppendFirst renders the role chunk that opens a stream, AppendLast the end.
func AppendFirst(dst []byte, id int64) []byte {
	return append(chunkHead(dst, id), "{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}\n\n"...)
}

// AppendLast renders the closing chunk and the end mark of a stream.
func AppendLast(dst []byte, id int64) []byte {
	return append(chunkHead(dst, id), "{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n"...)
}

func chunkHead(dst []byte, id int64) []byte {
	dst = append(dst, `data: {"id":"chatcmpl-bench-`...)
	dst = strconv.AppendInt(dst, id, 10)
	return append(dst, `","object":"chat.completion.chunk","created":1700000000,"model":"bench-1","choices":[{"index":0,"delta":`...)
}

// ParseDelta reads index and send time out of one SSE data line. ok is false for lines without a bench delta (role, end,
// usage, comments) and for a delta whose text is not that of its index.
func ParseDelta(line []byte) (i int, at int64, ok bool) {
	v, ok := member(line, `"obfuscation":`)
	if !ok || len(v) == 0 || v[0] != 'w' {
		return 0, 0, false
	}
	left, right, ok := bytes.Cut(v[1:], []byte(":"))
	if !ok {
		return 0, 0, false
	}
	n, err1 := strconv.Atoi(string(left))
	at, err2 := strconv.ParseInt(string(right), 10, 64)
	if err1 != nil || err2 != nil || n < 0 {
		return 0, 0, false
	}
	text, ok := member(line, `"content":`)
	return n, at, ok && (string(text) == Word(n, false) || string(text) == Word(n, true))
}

// member finds a string without escapes by the name before it, colon included.
func member(line []byte, name string) ([]byte, bool) {
	_, v, ok := bytes.Cut(line, []byte(name))
	if !ok {
		return nil, false
	}
	v, ok = bytes.CutPrefix(bytes.TrimLeft(v, " "), []byte(`"`))
	if !ok {
		return nil, false
	}
	v, _, ok = bytes.Cut(v, []byte(`"`))
	return v, ok
}
