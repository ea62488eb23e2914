// SPDX-License-Identifier: Apache-2.0

// Package automaton runs the patterns of many rules over bytes, fast and in bounded time per byte.
//
// # Union
//
// A Union is one automaton for all patterns, started at every byte where some rule may start. It is deterministic and built while it
// runs: a transition that nobody took yet is worked out once and kept for all streams. Long counted repeats are loops in it (x{3,64}
// becomes x{3,}), so that it has hundreds of states and not tens of thousands, and it may accept where the pattern does not: it never
// misses, and Exact has the last word. A state knows no positions, but it knows how many bytes at most a match that is still going on
// may have behind it (Hold): what stands before that is settled.
//
// A Union is shared by any number of goroutines. A transition is read with one atomic load; the lock is taken for those that are
// missing. When there are too many states, the table is left to those who still use it, and a new one begins.
//
// # Joint
//
// A Joint runs several unions at once: it keeps a table of those combinations of their states that texts lead to, grown as they come, so that a byte
// costs one load whatever the unions are.
//
// # Exact
//
// An Exact is the automaton of one pattern as it stands, with its counts, anchored at a place of the text. It reads runes the way that
// package regexp does: a byte that is no UTF-8 is U+FFFD, one byte long.
package automaton
