// SPDX-License-Identifier: Apache-2.0

package action

import "fmt"

// Action is what becomes of a value.
type Action uint8

const (
	Tag       Action = iota // [EMAIL]
	LastFour                // [CREDIT_CARD:4242]: at most four characters, and at most a quarter of the value
	Pseudonym               // [EMAIL_7f3a9c02]: the same for the same value, within a session
	Deny                    // the exchange ends, and nothing of the value is released
	Allow                   // the value stays
)

var names = [...]string{"tag", "last_four", "pseudonym", "deny", "allow"}

func (a Action) String() string {
	if int(a) < len(names) {
		return names[a]
	}
	return fmt.Sprintf("action(%d)", uint8(a))
}

// Parse is the inverse of String; "" is Tag.
func Parse(s string) (Action, error) {
	if s == "" {
		return Tag, nil
	}
	for i, n := range names {
		if s == n {
			return Action(i), nil
		}
	}
	return 0, fmt.Errorf("action %q: want tag, last_four, pseudonym, deny or allow", s)
}
