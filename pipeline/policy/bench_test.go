// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// large is a policy of 100 roles, 1,000 bindings and 200 guardrails. A quarter of the guardrails are as people write them, the rest
// are names and words of projects.
func large(b testing.TB, extra ...string) *Set {
	var text strings.Builder
	head := "---\napiVersion: sallyport.dev/v1alpha1\n"
	for i := range 100 {
		fmt.Fprintf(&text, "%skind: Role\nmetadata: {name: r%d}\nspec: {rules: [{endpoints: [openai], operations: [chat], models: [\"gpt-%d-*\"], tools: [\"t%d_*\"]}]}\n", head, i, i, i)
	}
	for i := range 1000 {
		fmt.Fprintf(&text, "%skind: RoleBinding\nmetadata: {name: b%d}\nspec: {role: r%d, subjects: [{unit: \"unit-%d-*.service\"}]}\n", head, i, i%100, i)
	}
	real := []string{
		`(?i)\b(ignore|disregard|forget)\b.{0,40}\b(previous|prior|above)\b.{0,20}\binstructions?\b`, `(?i)reveal (your|the) system prompt`, `(?i)you are now (dan|developer mode)`,
		`rm\s+-[a-z]*r`, `(?i)\b(drop|truncate)\s+table\b`, `mkfs\.`, `(?i)curl[^|\n]*\|\s*(ba)?sh`, `AKIA[0-9A-Z]{16}`, `ghp_[A-Za-z0-9]{36}`, `xox[bap]-[0-9A-Za-z-]{10,}`,
		`-----BEGIN [A-Z ]*PRIVATE KEY-----`, `(?i)password\s*[:=]\s*\S+`, `\bsk-[A-Za-z0-9]{20,}`, `(?i)chmod\s+777`, `/etc/shadow`, `(?i)shutdown\s+-h`, `eval\(`, `base64\s+-d`,
		`(?i)confidential`, `(?i)\bproject\s+(badger|falcon|osprey)\b`, `(?i)do anything now`, `169\.254\.169\.254`, `metadata\.google\.internal`, `(?i)exfiltrat`, `nc\s+-e`,
		`(?i)jailbreak`, `<script\b`, `(?i)union\s+select`, `\.\./\.\./`, `wget\s+http`, `(?i)kill\s+-9`, `sudo\s+`, `(?i)internal use only`, `chattr\s+-i`, `iptables\s+-F`, `crontab\s+-r`,
		`git\s+push\s+--force`, `kubectl\s+delete`, `terraform\s+destroy`, `aws\s+s3\s+rb`, `gcloud\s+projects\s+delete`, `az\s+group\s+delete`, `docker\s+system\s+prune`, `:\(\)\s*\{`,
		`dd\s+if=`, `history\s+-c`, `(?i)authorized_keys`, `useradd\s+`, `visudo`, `ssh-keygen`,
	}
	for i := range 150 {
		real = append(real, fmt.Sprintf(`(?i)\bcustomer-%03d\b|\bcodename (alpha|beta)%d\b`, i, i))
	}
	for i, re := range append(real, extra...) {
		fmt.Fprintf(&text, "%skind: Guardrail\nmetadata: {name: g%03d}\nspec: {on: [prompt, toolCall, toolResult], match: {regex: '%s'}, action: deny}\n", head, i, strings.ReplaceAll(re, "'", "''"))
	}
	return mustLoad(b, text.String())
}

const prose = `You are a support assistant of an energy company. Answer in the language of the customer, in at most five sentences, and name the source
of each statement. If the question is about an invoice, look up the invoice first and compare the meter readings with those of the year before.
Customer: My bill for March is much higher than it used to be, although nothing has changed in our household. Could you please check whether the
reading was estimated? I have attached the previous statements; the meter number is 4711-0815, and I moved in on 1 April 2021. Also, how do I change the
direct debit information and the address? Thanks in advance for your help, kind regards, A. Customer. Context from the knowledge base: Readings are estimated
when the meter operator does not transmit a value in time. The estimation follows the standard load profile and the consumption of the previous period.
`

const code = `package main

import "fmt"

// computeMonthlyStatistics aggregates the measurements and returns averages.
func computeMonthlyStatistics(measurements []Measurement, requestTimeout time.Duration) (map[string]float64, error) {
	resultByIdentifier := make(map[string]float64, len(measurements))
	for index, measurement := range measurements {
		if measurement.ValueInKilowattHours < 0 {
			return nil, fmt.Errorf("measurement %d of %s: negative value %f", index, measurement.Identifier, measurement.ValueInKilowattHours)
		}
		resultByIdentifier[measurement.Identifier] += measurement.ValueInKilowattHours / float64(daysInMonth(measurement.Timestamp))
	}
	return resultByIdentifier, nil
}
`

func fill(s string, n int) string { return strings.Repeat(s, n/len(s)+1)[:n] }

// BenchmarkDecide reports the 99th percentile of single decisions beside the mean.
func BenchmarkDecide(b *testing.B) {
	m := &pipeline.Meta{Workload: pipeline.Workload{PID: 1, UID: 1, Unit: "unit-999-a.service"}, Endpoint: pipeline.Endpoint{Name: "openai", Host: "api.openai.com"}}
	c := &pipeline.Call{Operation: pipeline.OpChat, Model: "gpt-99-x"}
	prompt := func(text string) *pipeline.Step { return &pipeline.Step{Kind: pipeline.StepPrompt, Text: text} }
	umlauts := strings.NewReplacer("customer", "Kundin für", "ou", "ü", "ea", "ä").Replace(prose)
	for _, bm := range []struct {
		name  string
		set   *Set
		step  *pipeline.Step
		match bool
	}{
		{"call", large(b), nil, false},
		{"prose of 8 KiB", large(b), prompt(fill(prose, 8192)), false},
		{"code of 8 KiB", large(b), prompt(fill(code, 8192)), false},
		{"German of 8 KiB", large(b), prompt(fill(umlauts, 8192)), false},
		{"tool call", large(b), &pipeline.Step{Kind: pipeline.StepToolCall, Name: "t99_x", Args: []byte(`{"path":"/tmp/file","text":"some words that say what is to be done","lines":[1,2,3]}`)}, false},
		{"worst: an expression without a literal", large(b, `[0-9]{13,19}`), prompt(fill(prose, 8192)), false},
		{"worst: beginnings everywhere", large(b), prompt(fill("rm sudo rm drop password truncate ", 8192)), false},
		{"worst: base64 of 8 KiB", large(b), prompt(fill("dGhlIHF1aWNrIGJyb3duIGZveCBqdW1wcyBvdmVy", 8192)), false},
	} {
		b.Run(bm.name, func(b *testing.B) {
			b.ReportAllocs()
			took := make([]time.Duration, 0, 1<<20)
			for b.Loop() {
				before := time.Now()
				v := bm.set.Decide(m, c, bm.step)
				if len(took) < cap(took) {
					took = append(took, time.Since(before))
				}
				if (v.Action == pipeline.Deny) != bm.match && !strings.HasPrefix(bm.name, "worst") {
					b.Fatal(v)
				}
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds()), "p99-ns")
			b.ReportMetric(float64(took[len(took)/2].Nanoseconds()), "p50-ns")
			b.ReportMetric(float64(took[len(took)/100].Nanoseconds()), "p1-ns")
		})
	}
}
