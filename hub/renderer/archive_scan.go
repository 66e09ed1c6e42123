package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"strconv"
	"strings"
)

// tarBlock is the unit of a tar archive, bytes.
const tarBlock = 512

// scanHeaders looks at the headers that archive/tar hides: extensions that change the entry after them. Readers agree about
// extended headers (x, g) and long names (L) that an entry follows; what is taken differently, or forgotten at the end, is
// an error. Sizes are octal, as POSIX has them. A folder has no content.
//
// It gives the kind of each entry as it stands there: archive/tar makes folders of files whose name ends with a slash.
func scanHeaders(raw []byte) ([]byte, error) {
	var kinds []byte
	pending := byte(0)
	for at := 0; at+tarBlock <= len(raw); {
		header := raw[at : at+tarBlock]
		if bytes.Equal(header, make([]byte, tarBlock)) {
			break
		}
		if magic := string(header[257:265]); magic != "ustar\x0000" && magic != "ustar  \x00" {
			return nil, errors.New("is neither a POSIX nor a GNU archive")
		}
		size, err := strconv.ParseUint(strings.Trim(string(header[124:136]), " \x00"), 8, 40)
		if err != nil {
			return nil, errors.New("has an entry whose size is not octal")
		}
		switch kind := header[156]; kind {
		case 'x', 'L':
			if pending == kind {
				return nil, errors.New("has two extensions of one kind for one entry")
			}
			pending = kind
			end := min(at+tarBlock+int(size), len(raw))
			if name := raw[at+tarBlock : end]; kind == 'L' && bytes.IndexByte(name, 0) != max(len(name)-1, 1) {
				return nil, errors.New("has a long name that does not end where it says")
			}
		case 'g':
			kinds = append(kinds, kind)
		case 'K', 'N', 'V', 'M', 'A', 'X':
			return nil, errors.New("has an extension that not all readers know")
		default:
			if kind == tar.TypeDir && size > 0 {
				return nil, errors.New("has a folder with content")
			}
			pending = 0
			kinds = append(kinds, kind)
		}
		at += tarBlock + int((size+tarBlock-1)/tarBlock*tarBlock)
	}
	if pending != 0 {
		return nil, errors.New("ends with an extension that no entry follows")
	}
	return kinds, nil
}
