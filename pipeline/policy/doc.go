// SPDX-License-Identifier: Apache-2.0

// Package policy decides what a caller may do. A Set is compiled once from a folder of YAML documents (Role,
// RoleBinding, Guardrail), all of it or nothing, and never changes; it may be used by any number of goroutines. What no
// role grants is denied, so that an empty folder denies everything. The package does no I/O after loading.
//
// Size: package: what compiles rules and what decides by them share the form of a compiled rule, which nobody else may see; what
// stands by itself (conditions, counters, readings, the index of expressions) has a folder of its own.
package policy
