// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/cespare/xxhash/v2"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/journal"
)

// maxText is how much of an exchange's text can be found by its words, in bytes.
const maxText = 8 << 20

// maxKnown bounds the memory for values that were seen.
const maxKnown = 100_000

// statements are prepared once for a file, and used in one transaction at a time. None may be one before which SQLite sets a savepoint (RETURNING is
// enough for that): at each, the index writes out what it has gathered, as a part of its own.
type statements struct {
	ctx                                              context.Context
	row, find, word, fresh, uses, session, has, deep *sql.Stmt
}

func prepare(ctx context.Context, db *sql.DB) (s statements, err error) {
	for _, p := range []struct {
		to  **sql.Stmt
		sql string
	}{
		{&s.row, "INSERT INTO exchanges VALUES (?" + strings.Repeat(", ?", 30) + ")"},
		{&s.find, "INSERT INTO found (rowid, fields, text) VALUES (?, ?, ?)"},
		{&s.word, "SELECT id FROM words WHERE field = ? AND value = ?"},
		{&s.fresh, "INSERT INTO words (field, value, uses) VALUES (?, ?, 0)"},
		{&s.uses, "UPDATE words SET uses = uses + ? WHERE id = ?"},
		{&s.session, `INSERT INTO sessions VALUES (?1, ?2, ?2, 1, ?3, ?4) ON CONFLICT (id) DO UPDATE SET started = min(started, ?2), last = max(last, ?2),
			exchanges = exchanges + 1, denied = denied + ?3, masked = masked + ?4`},
		{&s.has, "SELECT EXISTS (SELECT 1 FROM exchanges WHERE id = ?1), EXISTS (SELECT 1 FROM exchanges WHERE n = ?2), EXISTS (SELECT 1 FROM sessions WHERE id = ?3)"},
		{&s.deep, "SELECT steps, answer FROM exchanges WHERE id = ?"},
	} {
		if *p.to, err = db.PrepareContext(ctx, p.sql); err != nil {
			return s, err
		}
	}
	return s, nil
}

// in gives the statements to a transaction.
func (s statements) in(ctx context.Context, tx *sql.Tx) *statements {
	s.ctx = ctx
	for _, p := range []**sql.Stmt{&s.row, &s.find, &s.word, &s.fresh, &s.uses, &s.session, &s.has, &s.deep} {
		*p = tx.StmtContext(ctx, *p)
	}
	return &s
}

// add brings exchanges, and how far the journal has been read with them, into the archive, and takes the words of erased ones out.
func (a *Archive) add(ctx context.Context, parts []*journal.Parts, at place, gone ...erased) error {
	mark, err := json.Marshal(at)
	if err != nil {
		return err
	}
	put := func(mark []byte) error {
		return a.in(ctx, func(tx *sql.Tx) error {
			if len(parts) > 0 {
				s := a.sql.in(ctx, tx)
				for _, p := range parts {
					if err := a.addOne(s, p); err != nil {
						return err
					}
				}
				if err := a.count(s); err != nil {
					return err
				}
			}
			if mark == nil {
				return nil
			}
			_, err := tx.ExecContext(ctx, "INSERT OR REPLACE INTO meta VALUES ('place', ?)", string(mark))
			return err
		})
	}
	if len(gone) > 0 { // session by session: that they are done is stored at the end, and what was done in part is done again
		if err := put(nil); err != nil {
			return err
		}
		parts = nil
		for i := range gone {
			if err := a.erase(ctx, &gone[i]); err != nil {
				return err
			}
		}
	}
	return put(mark)
}

// count adds up how often values were used.
func (a *Archive) count(s *statements) error {
	for id, n := range a.used {
		if _, err := s.uses.ExecContext(s.ctx, n, id); err != nil {
			return err
		}
	}
	clear(a.used)
	return nil
}

func (a *Archive) addOne(s *statements, p *journal.Parts) error {
	n, known := p.Time.UnixMicro(), false // known: other exchanges of the session are there
	for ; ; n++ {
		var have, taken bool
		if err := s.has.QueryRowContext(s.ctx, p.Exchange, n, p.Session).Scan(&have, &taken, &known); have || err != nil {
			return err
		}
		if !taken {
			break
		}
	}
	x := p.Document()
	steps := pipeline.Messages(x.Steps)
	fresh := steps                                                                           // what is new in the request
	if p.Intent.Parent != "" && p.Intent.Call.Previous == "" && p.Intent.Call.Thread == "" { // it repeats what its parent said and heard
		var said, heard int64
		if err := s.deep.QueryRowContext(s.ctx, p.Intent.Parent).Scan(&said, &heard); err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		fresh = steps[min(int(said), len(steps)):]
		if len(fresh) > 0 && said > 0 && hash(fresh[0].Text) == heard {
			fresh = fresh[1:]
		}
	}
	var words strings.Builder
	words.WriteString(every)
	stands := func(field, value string) {
		words.WriteByte(' ')
		words.WriteString(token(field, value))
	}
	var ids []int64
	for _, f := range a.fields {
		if f.get == nil {
			continue
		}
		values := f.get(&x)
		for i := range values {
			values[i] = strings.ToLower(clean(values[i]))
		}
		slices.Sort(values)
		for _, v := range slices.Compact(values) {
			stands(f.Name, v)
			if f.Many {
				continue
			}
			id, err := a.note(s, f.Name, v)
			if err != nil {
				return err
			}
			ids = append(ids, id)
		}
	}
	used := p.Outcome.Used(p.Intent.BodyBytes)
	estimated := 0
	if p.Outcome.Estimated(used) {
		estimated = 1
		stands("is", "estimated")
		id, err := a.note(s, "is", "estimated")
		if err != nil {
			return err
		}
		ids = append(ids, id)
	}
	for _, v := range []struct {
		field string
		n     int64
	}{{"status", int64(x.Status)}, {"masks", int64(len(x.Masked))}, {"tokens", value(used.InputTokens) + value(used.OutputTokens)}, {"duration", x.DurationMS}} {
		r := rangeOf(v.field, v.n)
		stands(v.field, r.name())
		stands(v.field, r.octave())
		if _, err := a.note(s, v.field, r.name()); err != nil {
			return err
		}
	}
	refs, err := json.Marshal(p.Refs)
	if err != nil {
		return err
	}
	if _, err := s.find.ExecContext(s.ctx, n, words.String(), text(&x, fresh)); err != nil {
		return err
	}
	var tools []string
	for i := range x.Tools {
		tools = append(tools, x.Tools[i].Name)
	}
	slices.Sort(tools)
	if _, err := s.row.ExecContext(s.ctx, n, packed(ids), x.ExchangeID, x.SessionID, x.Parent, len(steps), hash(x.Response.Text), x.Principal.SPIFFEID, x.Principal.User, tenant(&x), workload(&x), x.Workload.UID,
		x.Scope, x.Verdict.Mode, x.Endpoint, x.Operation, cmp.Or(x.Model, x.Response.Model), clean(strings.Join(slices.Compact(tools), " ")),
		x.Verdict.Action, x.Verdict.Rule, x.Verdict.Enforced, x.Status, x.Cut, len(x.Masked), value(used.InputTokens), value(used.OutputTokens), value(used.CachedTokens),
		estimated, x.DurationMS, x.Request.Credential, string(refs)); err != nil {
		return err
	}
	was := 0
	if denied(&x) {
		was = 1
	}
	if _, err := s.session.ExecContext(s.ctx, x.SessionID, n, was, len(x.Masked)); err != nil {
		return err
	}
	a.more.exchanges++
	if !known {
		a.more.sessions++
	}
	return nil
}

// note adds a value to the list of those that globs are looked up in, and gives its number there.
func (a *Archive) note(s *statements, field, v string) (id int64, err error) {
	k := field + "\x00" + v
	id, ok := a.known[k]
	if !ok {
		if len(a.known) >= maxKnown {
			clear(a.known)
		}
		err := s.word.QueryRowContext(s.ctx, field, v).Scan(&id)
		if errors.Is(err, sql.ErrNoRows) {
			var r sql.Result
			if r, err = s.fresh.ExecContext(s.ctx, field, v); err == nil {
				id, err = r.LastInsertId()
			}
		}
		if err != nil {
			return 0, err
		}
		a.known[k] = id
	}
	a.used[id]++
	return id, nil
}

// packed are numbers of values as they are stored with an exchange: sorted, each as what it is more than the one before.
func packed(ids []int64) []byte {
	slices.Sort(ids)
	out, last := []byte{}, int64(0)
	for _, id := range ids {
		out, last = binary.AppendUvarint(out, uint64(id-last)), id
	}
	return out
}

// tenant is whose usage it is: the namespace, or the scope.
func tenant(x *journal.Exchange) string { return cmp.Or(x.Workload.Namespace, x.Scope) }

// workload is one name of what ran.
func workload(x *journal.Exchange) string {
	return cmp.Or(x.Workload.Unit, x.Workload.Pod, x.Workload.Container, x.Workload.Exe, x.Workload.Comm, x.Workload.Cgroup)
}

func hash(s string) int64 { return int64(xxhash.Sum64String(s)) }

func value(v *int64) int64 {
	if v == nil {
		return 0
	}
	return *v
}

// text is what can be found by words: what is new in the request, and the reply.
func text(x *journal.Exchange, steps []*pipeline.Step) string {
	var b strings.Builder
	add := func(s string) {
		if s != "" && b.Len() < maxText {
			b.WriteString(s[:min(len(s), maxText-b.Len())])
			b.WriteString("\n\n") // phrases do not go over
		}
	}
	for _, s := range steps {
		add(s.Text)
		add(plain(s.Args))
	}
	add(x.Response.Text)
	for i := range x.Tools {
		add(plain(x.Tools[i].Args))
	}
	return clean(b.String())
}

// plain is the text in JSON: its strings without their escapes, so that words and phrases are found.
func plain(raw json.RawMessage) string {
	if len(raw) == 0 {
		return ""
	}
	dec := json.NewDecoder(strings.NewReader(string(raw)))
	dec.UseNumber()
	var b strings.Builder
	for {
		t, err := dec.Token()
		if err != nil {
			return b.String()
		}
		switch v := t.(type) {
		case string:
			b.WriteString(v)
			b.WriteByte('\n')
		case json.Number:
			b.WriteString(v.String())
			b.WriteByte('\n')
		}
	}
}

// clean makes text fit for SQLite: valid, and without what ends a text there.
func clean(s string) string {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	return strings.ReplaceAll(s, "\x00", " ")
}
