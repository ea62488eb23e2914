// SPDX-License-Identifier: Apache-2.0

package main

import "context"

// store is the demo's Elasticsearch.
type store struct{}

func startStore(string) *store                          { return &store{} }
func (s *store) config(context.Context) (string, error) { return "", nil }
func (s *store) count(context.Context) (int, error)     { return 0, nil }
func (s *store) stop() error                            { return nil }
