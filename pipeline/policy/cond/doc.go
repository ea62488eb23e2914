// SPDX-License-Identifier: Apache-2.0

// Package cond compiles and evaluates the conditions of policy documents: expressions of CEL that say yes or no about a call or
// a step. What an expression may cost is limited where it is compiled, by an estimate, and where it runs, by counting.
package cond
