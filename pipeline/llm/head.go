// SPDX-License-Identifier: Apache-2.0

package llm

import (
	"strings"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// ModelSegment is the segment of a base path that stands for any one segment, which names the model.
const ModelSegment = "{model}"

// Tail is what follows the endpoint's base path in the path of a request, and the model that the path names, if the base path
// has a segment for it. standard is the base path of endpoints that have none. Paths are compared as they stand: one that a
// server may read differently, with escapes, dots or doubled slashes, is none that anybody here knows.
func Tail(e *pipeline.Endpoint, h *pipeline.Head, standard string) (tail, model string, err error) {
	path, _, _ := strings.Cut(h.Target, "?")
	base := standard
	if e.BasePath != "" {
		base = strings.TrimSuffix(e.BasePath, "/")
	}
	before, after, has := strings.Cut(base, ModelSegment)
	tail, ok := strings.CutPrefix(path, before)
	if ok && has {
		end := strings.IndexByte(tail, '/')
		if ok = end > 0 && plainName(tail[:end]); ok {
			model = tail[:end]
			tail, ok = strings.CutPrefix(tail[end:], after)
		}
	}
	if !ok || !strings.HasPrefix(tail, "/") {
		return "", "", NotInspected("path %q is not below %s, the base path of endpoint %s", path, base+"/", e.Name)
	}
	return tail, model, nil
}

// plainName takes what means the same in a path to everybody.
func plainName(s string) bool {
	for _, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_', c == '.':
		default:
			return false
		}
	}
	return strings.Trim(s, ".") != ""
}

// JSONBody checks that a request is a POST of JSON.
func JSONBody(h *pipeline.Head) error {
	if h.Method != "POST" {
		return NotInspected("method %q on %s", h.Method, h.Target)
	}
	types := 0
	for _, f := range h.Fields {
		if strings.EqualFold(f.Name, "Content-Type") {
			if types++; types > 1 || !isJSON(f.Value) {
				return NotInspected("content type %q", f.Value)
			}
		}
	}
	if types == 0 {
		return NotInspected("no content type")
	}
	return nil
}

// isJSON takes application/json, alone or in UTF-8.
func isJSON(v string) bool {
	kind, param, more := strings.Cut(v, ";")
	if !strings.EqualFold(strings.TrimSpace(kind), "application/json") {
		return false
	}
	param = strings.ToLower(strings.TrimSpace(param))
	return !more || param == "charset=utf-8" || param == `charset="utf-8"`
}
