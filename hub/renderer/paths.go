package main

import (
	"net/url"
	"path"
	"regexp"
	"strings"
)

var drive = regexp.MustCompile(`^[A-Za-z]:`)

// cleanPath gives reference, which stands in folder, as a path of the tree: no leading slash, "" for the root.
//
// Whatever leaves the tree, or would on another system or in another reader, is a PATH_ESCAPE that names the
// reference as it was written.
func cleanPath(folder, reference string) (string, *Failure) {
	escape := func(why string) (string, *Failure) {
		return "", fail(codePathEscape, "", 0, "%q %s", shorten(reference), why)
	}
	switch {
	case strings.ContainsRune(reference, 0):
		return escape("has a NUL byte")
	case strings.Contains(reference, "://"):
		return escape("is a URL; only paths in the tree are read")
	case strings.HasPrefix(reference, "/"):
		return escape("is absolute; paths are relative to the tree")
	case strings.Contains(reference, `\`) || drive.MatchString(reference):
		return escape("is a path of another system")
	}
	if decoded, err := url.PathUnescape(reference); err == nil && decoded != reference {
		for name := range strings.SplitSeq(decoded, "/") {
			if name == ".." {
				return escape("hides '..' behind percent signs")
			}
		}
	}
	joined := path.Clean(path.Join("/", folder))
	depth := strings.Count(strings.TrimSuffix(joined, "/"), "/")
	for name := range strings.SplitSeq(path.Clean(reference), "/") {
		if name != ".." {
			break
		}
		if depth--; depth < 0 {
			return escape("leaves the tree")
		}
	}
	return strings.TrimPrefix(path.Join(joined, reference), "/"), nil
}

// shorten keeps a quoted reference readable.
func shorten(text string) string {
	const most = 200
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}
