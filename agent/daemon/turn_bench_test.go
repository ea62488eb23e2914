// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport/agent/config"
	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/flow"
	"github.com/sallyport-dev/sallyport/test/fakes"
)

// BenchmarkTurn is an exchange of a conversation of 1 MB, in 100 messages, through flow, policy and masking, without a disk or a
// network: "first" has never seen its messages, "next" all but the last one.
func BenchmarkTurn(b *testing.B) {
	d := maskDaemon(b, maskPolicy, func(c *config.Mask) { c.Names = true })
	f, err := flow.New(flow.Options{Decider: d.policy, Masker: d.masking, Log: quiet{}, Sessions: fakes.Sessions("ses_1"), Codecs: protocols()})
	if err != nil {
		b.Fatal(err)
	}
	reply := []byte(`{"id":"c","object":"chat.completion","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"yes"},"finish_reason":"stop"}]}`)
	n := 0
	turn := func(b *testing.B, fresh int) {
		type message struct {
			Role    string `json:"role"`
			Content string `json:"content"`
		}
		var list []message
		for i := range 100 {
			mark := 0
			if i >= 100-fresh {
				n++
				mark = n
			}
			list = append(list, message{"user", fmt.Sprint(i, mark) + strings.Repeat(" the quick brown fox jumps over the lazy dog;", 230)})
		}
		body, err := json.Marshal(map[string]any{"model": "m", "messages": list})
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(int64(len(body)))
		client := fakes.Client{Payload: body, Request: pipeline.Head{Method: "POST", Target: "/v1/chat/completions", Fields: []pipeline.Field{{Name: "content-type", Value: "application/json"}}}}
		up := fakes.Upstream{Head: pipeline.Head{Status: 200, Fields: []pipeline.Field{{Name: "content-type", Value: "application/json"}}}, Pieces: [][]byte{reply}}
		m := &pipeline.Meta{Mode: pipeline.ModeEnforce, Workload: pipeline.Workload{PID: 1, Unit: "app.service", UID: 1000}, Endpoint: pipeline.Endpoint{Name: "openai", Host: "api.openai.com", Protocol: "openai"}}
		b.StartTimer()
		err = f.Serve(context.Background(), m, &client, &up)
		b.StopTimer()
		if err != nil {
			b.Fatal(err)
		}
	}
	for name, fresh := range map[string]int{"first": 100, "next": 1} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.StopTimer()
			for range b.N {
				turn(b, fresh)
			}
		})
	}
}

// quiet is a log that keeps nothing.
type quiet struct{}

func (quiet) Append(pipeline.Record) (pipeline.Position, <-chan error) {
	done := make(chan error, 1)
	done <- nil
	return pipeline.Position{Segment: 1, Offset: 1}, done
}
