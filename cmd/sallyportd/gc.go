// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
)

// slackBytes is how much the heap grows from one garbage collection to the next while next to nothing is alive. By itself Go
// lets it grow by what is alive, 4 MB at first: with the few megabytes of a daemon that has little to do that is a collection
// each 4 MB, which took a twelfth of its time under load; with a thousand streams it is as much memory again as they need.
const slackBytes = 16 << 20

// slack is how much the heap may grow if so much is alive. Up to 32 MB, a thousand streams, the more is alive the less is added,
// so that all together stays small. Beyond, collections get dear, and it is a quarter, then nearly a half.
func slack(live uint64) uint64 {
	return max(slackBytes-min(live/4, slackBytes), live/4, live/2-min(live/2, slackBytes))
}

// pacer sets GOGC after each collection, so that the heap grows by the slack. GOMEMLIMIT works as ever.
type pacer struct {
	done    atomic.Bool
	samples [3]metrics.Sample
}

// sentinel dies in each collection. It is not empty: the runtime gives those no memory of their own.
type sentinel struct{ _ *byte }

// pace begins to set GOGC, unless somebody has chosen one in the environment.
func pace() *pacer {
	p := &pacer{}
	for i, name := range []string{"/gc/heap/live:bytes", "/gc/scan/stack:bytes", "/gc/scan/globals:bytes"} {
		p.samples[i].Name = name
	}
	if os.Getenv("GOGC") != "" {
		return p
	}
	debug.SetGCPercent(percent(0, 0))
	p.next()
	return p
}

// next waits for the end of the next collection. No goroutine does: the runtime's own calls finalizers.
func (p *pacer) next() {
	runtime.SetFinalizer(&sentinel{}, func(*sentinel) {
		if p.done.Load() {
			return
		}
		metrics.Read(p.samples[:])
		debug.SetGCPercent(percent(p.samples[0].Value.Uint64(), p.samples[1].Value.Uint64()+p.samples[2].Value.Uint64()))
		p.next()
	})
}

// stop leaves GOGC as it is.
func (p *pacer) stop() { p.done.Store(true) }

// percent is the GOGC with which a heap of which live bytes are alive grows by as much as it should. Go takes it of the heap
// and of the roots, that is of stacks and global variables, and collects no heap of less than leastBytes of a percent each.
func percent(live, roots uint64) int {
	grow := slack(live)
	return int(max(1, min(grow*100/max(live+roots, 1), (live+grow)*100/leastBytes)))
}

// leastBytes is the size below which no heap is collected with a GOGC of 100.
const leastBytes = 4 << 20
