package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
)

// A budget is what is left of a chart's limits; a chart and its dependencies share one.
type budget struct {
	bytes int64
	files int
}

func newBudget() *budget { return &budget{bytes: chartBytesMax, files: chartFilesMax} }

func (b *budget) take(name string, size int64) *Failure {
	if b.bytes -= size; b.bytes < 0 {
		return fail(codeSize, name, 0, "the chart is larger than %d bytes unpacked", chartBytesMax)
	}
	if b.files--; b.files < 0 {
		return fail(codeSize, name, 0, "the chart has more than %d files", chartFilesMax)
	}
	return nil
}

// unpack reads a chart archive into memory: paths below the chart's own folder, and their bytes.
//
// An archive holds plain files and folders below one top folder, each name once, nothing after its end: whatever two
// readers might take differently is ARCHIVE_UNSAFE. name stands for the archive in failures.
func unpack(name string, archive []byte, left *budget) (map[string][]byte, *Failure) {
	compressed := bytes.NewReader(archive)
	unzipped, err := gzip.NewReader(compressed)
	if err != nil {
		return nil, fail(codeArchive, name, 0, "is not a gzip archive")
	}
	unzipped.Multistream(false)
	// A header costs bytes as well: an archive of empty entries ends too.
	limited := &io.LimitedReader{R: unzipped, N: chartBytesMax + 2*512*chartFilesMax}
	raw, err := io.ReadAll(limited)
	if err != nil || limited.N <= 0 {
		return nil, broken(name, limited)
	}
	kinds, err := scanHeaders(raw)
	if err != nil {
		return nil, fail(codeArchive, name, 0, "%s", err)
	}
	tarred := bytes.NewReader(raw)
	reader := tar.NewReader(tarred)
	members := map[string][]byte{}
	folders := map[string]bool{}
	top := ""
	entries := 0
	for {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, broken(name, limited)
		}
		if entries++; entries > len(kinds) {
			return nil, fail(codeArchive, name, 0, "is damaged")
		}
		if entries > 2*chartFilesMax {
			return nil, fail(codeArchive, name, 0, "has more than %d entries", 2*chartFilesMax)
		}
		if header.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		if header.Typeflag == tar.TypeDir && kinds[entries-1] != tar.TypeDir {
			return nil, fail(codeArchive, name, 0, "entry %q is a file with a folder's name", shorten(header.Name))
		}
		member, f := memberName(name, header)
		if f != nil {
			return nil, f
		}
		first, rest, _ := strings.Cut(member, "/")
		if top == "" {
			top = first
		}
		if first != top {
			return nil, fail(codeArchive, name, 0, "has more than one top folder")
		}
		if header.Typeflag == tar.TypeDir {
			folders[rest] = true
			continue
		}
		if rest == "" {
			return nil, fail(codeArchive, name, 0, "has a file outside its top folder")
		}
		if _, twice := members[rest]; twice {
			return nil, fail(codeArchive, name, 0, "has %q twice", shorten(rest))
		}
		if f := left.take(name, header.Size); f != nil {
			return nil, f
		}
		content, err := io.ReadAll(reader)
		if err != nil || int64(len(content)) != header.Size {
			return nil, broken(name, limited)
		}
		members[rest] = bytes.TrimPrefix(content, []byte("\xef\xbb\xbf"))
	}
	if f := nothingFollows(name, tarred, compressed); f != nil {
		return nil, f
	}
	for _, member := range slices.Sorted(maps.Keys(members)) {
		for folder := path.Dir(member); folder != "."; folder = path.Dir(folder) {
			if _, isFile := members[folder]; isFile {
				return nil, fail(codeArchive, name, 0, "has %q as a file and as a folder", shorten(folder))
			}
		}
		if folders[member] {
			return nil, fail(codeArchive, name, 0, "has %q as a file and as a folder", shorten(member))
		}
	}
	return members, nil
}

func broken(name string, limited *io.LimitedReader) *Failure {
	if limited.N <= 0 {
		return fail(codeSize, name, 0, "the chart is larger than %d bytes unpacked", chartBytesMax)
	}
	return fail(codeArchive, name, 0, "is damaged")
}

func memberName(name string, header *tar.Header) (string, *Failure) {
	refuse := func(why string) (string, *Failure) {
		return "", fail(codeArchive, name, 0, "entry %q %s", shorten(header.Name), why)
	}
	switch header.Typeflag {
	case tar.TypeReg, tar.TypeDir:
	case tar.TypeSymlink, tar.TypeLink:
		return refuse("is a link")
	default:
		return refuse("is neither file nor folder")
	}
	if header.Linkname != "" {
		return refuse("is a file that names a link target")
	}
	if header.Mode&0o7000 != 0 {
		return refuse("has a setuid, setgid or sticky bit")
	}
	for key := range header.PAXRecords {
		if key == "size" || strings.HasPrefix(key, "GNU.sparse") {
			return refuse("gives its size in an extended header")
		}
	}
	member := strings.TrimSuffix(header.Name, "/")
	if header.Typeflag != tar.TypeDir && member != header.Name {
		return refuse("is a file with a folder's name")
	}
	if member == "" || strings.ContainsAny(member, "\\\x00") || drive.MatchString(member) ||
		path.IsAbs(member) || path.Clean(member) != member || member == "." || member == ".." || strings.HasPrefix(member, "../") {
		return refuse("has an unclean name")
	}
	return member, nil
}

// nothingFollows makes sure that no reader could find more in the archive than this one did.
func nothingFollows(name string, tarred io.Reader, compressed *bytes.Reader) *Failure {
	rest := make([]byte, 4096)
	for {
		n, err := tarred.Read(rest)
		for _, b := range rest[:n] {
			if b != 0 {
				return fail(codeArchive, name, 0, "has data after its end")
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fail(codeArchive, name, 0, "is damaged")
		}
	}
	if compressed.Len() > 0 {
		return fail(codeArchive, name, 0, "has data after its end")
	}
	return nil
}
