// SPDX-License-Identifier: Apache-2.0

package flow_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/stream"
)

// FuzzResponsesStream: no stream makes us panic or run on, and none releases a call of a tool that is refused.
func FuzzResponsesStream(f *testing.F) {
	for _, whole := range responsesStreams {
		f.Add([]byte(whole), uint8(50))
	}
	f.Fuzz(func(t *testing.T, in []byte, step uint8) {
		r := responsesRig(t, inSteps(string(in), step)...)
		err := r.serve()
		for _, n := range r.notes {
			if strings.Contains(n, "panic") {
				t.Fatal(n)
			}
		}
		if err == nil && len(r.log.Of(pipeline.KindOutcome)) != 1 {
			t.Fatalf("%d outcomes", len(r.log.Of(pipeline.KindOutcome)))
		}
		s := stream.NewSSE(0)
		s.Write(r.client.Got)
		s.End()
		for {
			e, ok, err := s.Next()
			if err != nil || !ok {
				break
			}
			var v struct {
				Item     struct{ Type, Name string }
				Response struct {
					Output []struct{ Type, Name string }
				}
			}
			if !e.HasData || json.Unmarshal(e.Data, &v) != nil {
				continue
			}
			for _, item := range append(v.Response.Output, v.Item) {
				if item.Name == "delete" && (item.Type == "function_call" || item.Type == "custom_tool_call") {
					t.Fatalf("released %s", e.Data)
				}
			}
		}
	})
}
