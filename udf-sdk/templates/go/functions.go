package main

import (
	"strings"

	"NAME/sandmill"
)

//sandmill:package NAME 0.1.0

// First letter of a name; NULL where there is none.
//
//sandmill:scalar initial(name VARCHAR) -> VARCHAR
func initial(name string) string {
	name = strings.TrimSpace(name)
	for _, letter := range name {
		return string(letter)
	}
	return sandmill.Null[string]()
}
