// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"strconv"
	"strings"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// Visible copies the fields that are not hidden. Nothing of a hidden field is kept in memory by the copies.
func (h *Head) Visible(raw []byte) []pipeline.Field {
	size, n := 0, 0
	for i := range h.Fields {
		if f := &h.Fields[i]; !f.Hidden {
			size += f.Name.End - f.Name.Start + f.Value.End - f.Value.Start
			n++
		}
	}
	var text strings.Builder
	text.Grow(size)
	out := make([]pipeline.Field, 0, n)
	for i := range h.Fields {
		f := &h.Fields[i]
		if f.Hidden {
			continue
		}
		at := text.Len()
		text.Write(f.Name.Of(raw))
		mid := text.Len()
		text.Write(f.Value.Of(raw))
		all := text.String()
		out = append(out, pipeline.Field{Name: all[at:mid], Value: all[mid:]})
	}
	return out
}

// AppendRequest appends the head raw, which h describes, as edited: with this method and target, and with these fields
// in place of those that are not hidden. Whatever is unchanged keeps its bytes; hidden fields keep their places. An
// edit that would not be a proper head is an error. h may be empty: then the head is made from nothing. out, which is
// not h, describes the result.
func (h *Head) AppendRequest(dst, raw []byte, method, target string, fields []pipeline.Field, out *Head) ([]byte, error) {
	at := len(dst)
	if !allText(method, isToken) || !allText(target, isTarget) {
		return dst, ErrStart
	}
	if len(raw) > 0 && method == string(h.Method.Of(raw)) && target == string(h.Target.Of(raw)) {
		dst = append(dst, raw[:h.Start]...)
	} else {
		dst = append(dst, method...)
		dst = append(dst, ' ')
		dst = append(dst, target...)
		dst = append(dst, " HTTP/1.1\r\n"...)
	}
	dst, err := h.appendFields(dst, raw, fields)
	if err != nil {
		return dst, err
	}
	return dst, out.Request(dst[at:])
}

// AppendReply is AppendRequest for replies.
func (h *Head) AppendReply(dst, raw []byte, status int, reason string, fields []pipeline.Field, out *Head) ([]byte, error) {
	at := len(dst)
	if !allText(reason, isValue) {
		return dst, ErrStart
	}
	if len(raw) > 0 && status == h.Status && reason == string(h.Reason.Of(raw)) {
		dst = append(dst, raw[:h.Start]...)
	} else {
		dst = append(dst, "HTTP/1.1 "...)
		dst = strconv.AppendInt(dst, int64(status), 10)
		dst = append(dst, ' ')
		dst = append(dst, reason...)
		dst = append(dst, "\r\n"...)
	}
	dst, err := h.appendFields(dst, raw, fields)
	if err != nil {
		return dst, err
	}
	return dst, out.Reply(dst[at:])
}

// appendFields walks both lists once. A field that is found further on among the old ones is taken from there, with
// the white space it had; hidden fields are carried along as they are passed.
func (h *Head) appendFields(dst, raw []byte, fields []pipeline.Field) ([]byte, error) {
	next := 0
	hidden := func(to int) {
		for ; next < to; next++ {
			if f := &h.Fields[next]; f.Hidden {
				dst = append(dst, f.Line.Of(raw)...)
			}
		}
	}
	for i := range fields {
		f := &fields[i]
		if !allText(f.Name, isToken) || !allText(f.Value, isValue) {
			return dst, ErrField
		}
		k := next
		for k < len(h.Fields) && (h.Fields[k].Hidden || !strings.EqualFold(f.Name, string(h.Fields[k].Name.Of(raw)))) {
			k++
		}
		if k == len(h.Fields) { // new
			dst = append(append(append(append(dst, f.Name...), ": "...), f.Value...), "\r\n"...)
			continue
		}
		hidden(k)
		next = k + 1
		old := &h.Fields[k]
		dst = append(dst, f.Name...)
		if f.Value == string(old.Value.Of(raw)) {
			dst = append(dst, raw[old.Name.End:old.Line.End]...)
			continue
		}
		dst = append(dst, raw[old.Name.End:old.Value.Start]...)
		dst = append(dst, f.Value...)
		dst = append(dst, raw[old.Value.End:old.Line.End]...)
	}
	hidden(len(h.Fields))
	return append(dst, '\r', '\n'), nil
}

func allText(s string, k class) bool {
	for i := range len(s) {
		if classes[s[i]]&k == 0 {
			return false
		}
	}
	return true
}
