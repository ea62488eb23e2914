// SPDX-License-Identifier: Apache-2.0

// Package meter counts requests and tokens against limits within sliding windows of time. Its memory is bounded, its clock is
// given to it and does not follow jumps of the wall clock, and what it counted can be told to a new one.
package meter
