// SPDX-License-Identifier: Apache-2.0

// Package holds tests what waits for people with everything real but the application and the provider: an exchange, the desk, and
// a journal on disk, of which copies are taken while it is written, as a machine that loses power would leave it.
package holds
