// SPDX-License-Identifier: Apache-2.0

// Package trust holds the tests that need root: real programs (Python, Node, Go) in mount namespaces of their own, whose
// trust stores are changed while they run, talking to a server with a leaf of the embedded CA.
package trust
