package main

import (
	"regexp"
	"strings"
)

var word = regexp.MustCompile(`[^\s"'` + "`" + `,;:()\[\]{}<>=]{3,}`)

// ordinary are words of the libraries' own messages. They stay, though files may contain them too.
var ordinary = func() map[string]bool {
	words := map[string]bool{}
	for _, w := range strings.Fields(`
		accumulating accumulation add additional allowed already and any are array at bad base bool boolean build but
		cannot character characters characters could constraint contains converting could create cycle decode detected
		did directory does document duplicate empty end error evaluate evaluating execute executing expected expecting
		expression failed field fields file find for format found from function get got has in indentation indicator
		int integer interface into invalid is json key kind kustomization line list load loading long malformed map
		mapping match matches matching merge merging metadata missing more multiple must name namespace need newline nil
		no node not null number object only operation parse parsed parsing patch patches path pointer properties property
		recursed reference required resource resources root same schema scalar security sequence set start string
		subresource syntax tag template than that the this too token type types unable unexpected unknown unmarshal
		unmarshaling unmarshalling unsupported unterminated url using value values variable version want was while with
		without wrong yaml apiVersion spec status data kind labels annotations selector true false
	`) {
		words[strings.ToLower(w)] = true
	}
	return words
}()

// redact gives message without the words that stand in contents: a library's error may quote what it read, and an
// error is shown to more people than the file. Words of keep (paths, names) stay.
func redact(message string, contents []string, keep ...string) string {
	kept := func(w string) bool {
		if ordinary[strings.ToLower(strings.Trim(w, ".!?"))] {
			return true
		}
		for _, k := range keep {
			if w == k || (len(w) > 3 && strings.Contains(k, w)) {
				return true
			}
		}
		return false
	}
	out := word.ReplaceAllStringFunc(message, func(w string) string {
		if kept(w) {
			return w
		}
		for _, content := range contents {
			if strings.Contains(content, w) {
				return "…"
			}
		}
		return w
	})
	return oneLine(out)
}

// oneLine makes message fit to be shown: one line, bounded, no control characters.
func oneLine(message string) string {
	message = strings.ToValidUTF8(strings.Join(strings.Fields(message), " "), "�")
	message = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, message)
	if len(message) > messageBytesMax {
		message = strings.ToValidUTF8(message[:messageBytesMax], "") + "…"
	}
	return message
}
