// SPDX-License-Identifier: Apache-2.0

// Package fakellm stands in for api.openai.com (chat completions and responses, plain, streamed, with tools, the older
// completions, embeddings, models), api.anthropic.com (messages, count_tokens) and Ollama (/api/…), and in one fixed answer for other providers: HTTPS with a CA of its own, in the shapes of the
// real things, and in the header order and header case of the first. What it answers
// depends on the request and nothing else, so that two runs can be compared byte for byte (with a fixed Options.Clock).
// Every request is written to a log before it is answered: the log proves what was forwarded and what was not.
//
// The text of the last user message steers the answer; words are matched without case:
//
//	say: TEXT              answer with TEXT
//	leak a key             answer with a made-up vendor key and an e-mail address
//	use tool NAME          call the tool if it was offered; "with {...}" behind the name gives the arguments.
//	                       Several: one after the other, each after the result of the one before
//	force tool NAME        call it though it was not offered
//	two tools              two calls in one reply: the two that are named, or the first two offered
//	long N                 an answer of N words
//	unicode                an answer with letters, emoji and escapes of many kinds
//	slow | pace 50ms       time between two deltas
//	gzip                   compress the answer
//	status N               an error with this status
//	hang                   take the request and never answer
//	reset | cut            end the connection in the middle of the answer, with RST or properly
//	stall                  stop in the middle of the answer, and keep the connection
//	lie                    announce less than is sent: of the whole answer, or of a chunk in its middle
//	surplus                send a second answer that nobody asked for behind the first
//
// A conversation that ends in tool results is answered with text that quotes them, or with the next tool. Models whose
// names begin with neither gpt-, o nor text-embedding- do not exist; with Anthropic those that do not begin with claude-.
package fakellm
