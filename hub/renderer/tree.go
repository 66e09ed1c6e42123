package main

import (
	"path"
	"slices"
	"strings"

	"countersign.dev/renderer/rendererpb"
)

// asker gives the answer of whoever holds the tree. It doesn't return if the other side is gone.
type asker func(kind rendererpb.FileQuery_Kind, path string) *rendererpb.FileAnswer

// A tree is the file system of one render: read when asked for, remembered until the render ends, never written.
//
// Paths are relative to its root, cleaned, "" for the root. Links are resolved on the other side.
type tree struct {
	ask     asker
	answers map[question]*rendererpb.FileAnswer
	read    int
	asked   int
	// contents of the files that were read, so that no message repeats them.
	contents []string
}

type question struct {
	kind rendererpb.FileQuery_Kind
	path string
}

func newTree(ask asker) *tree {
	return &tree{ask: ask, answers: map[question]*rendererpb.FileAnswer{}}
}

func (t *tree) answer(kind rendererpb.FileQuery_Kind, name string) (*rendererpb.FileAnswer, *Failure) {
	q := question{kind, name}
	if a, ok := t.answers[q]; ok {
		return t.judged(a, name)
	}
	if t.asked++; t.asked > treeQueriesMax {
		return nil, fail(codeSize, name, 0, "the render reads more than %d files and folders", treeQueriesMax)
	}
	a := t.ask(kind, name)
	t.read += len(a.Content)
	if len(a.Content) > fileBytesMax {
		return nil, fail(codeSize, name, 0, "is larger than %d bytes", fileBytesMax)
	}
	if t.read > treeBytesMax {
		return nil, fail(codeSize, name, 0, "the render reads more than %d bytes", treeBytesMax)
	}
	if len(a.Content) > 0 {
		t.contents = append(t.contents, string(a.Content))
	}
	t.answers[q] = a
	return t.judged(a, name)
}

func (t *tree) judged(a *rendererpb.FileAnswer, name string) (*rendererpb.FileAnswer, *Failure) {
	if a.Kind == rendererpb.FileAnswer_REFUSED {
		code := a.Code
		if code == "" {
			code = codePathEscape
		}
		return nil, fail(code, name, 0, "%s", shorten(a.Reason))
	}
	return a, nil
}

// file gives the bytes at name, and whether a file stands there.
func (t *tree) file(name string) ([]byte, bool, *Failure) {
	a, f := t.answer(rendererpb.FileQuery_READ, name)
	if f != nil {
		return nil, false, f
	}
	return a.Content, a.Kind == rendererpb.FileAnswer_FILE, nil
}

// isFile tells whether a file stands at name.
func (t *tree) isFile(name string) (bool, *Failure) {
	a, f := t.answer(rendererpb.FileQuery_STAT, name)
	return f == nil && a.Kind == rendererpb.FileAnswer_FILE, f
}

// isFolder tells whether a folder stands at name.
func (t *tree) isFolder(name string) (bool, *Failure) {
	a, f := t.answer(rendererpb.FileQuery_STAT, name)
	return f == nil && a.Kind == rendererpb.FileAnswer_FOLDER, f
}

// list gives the names in the folder at name, sorted; none if there is no folder.
func (t *tree) list(name string) ([]*rendererpb.FolderEntry, *Failure) {
	a, f := t.answer(rendererpb.FileQuery_LIST, name)
	if f != nil {
		return nil, f
	}
	entries := slices.Clone(a.Entries)
	slices.SortFunc(entries, func(a, b *rendererpb.FolderEntry) int { return strings.Compare(a.Name, b.Name) })
	return entries, nil
}

// walk calls visit with each file below folder, sorted, by its path relative to folder. skip may leave out files and
// whole folders before they are read.
func (t *tree) walk(folder string, skip func(relative string, isFolder bool) bool, visit func(relative string) *Failure) *Failure {
	var within func(relative string, depth int) *Failure
	within = func(relative string, depth int) *Failure {
		if depth > depthMax {
			return fail(codeSize, path.Join(folder, relative), 0, "folders are nested deeper than %d", depthMax)
		}
		entries, f := t.list(path.Join(folder, relative))
		if f != nil {
			return f
		}
		for _, entry := range entries {
			name := path.Join(relative, entry.Name)
			if skip(name, entry.Folder) {
				continue
			}
			if entry.Folder {
				f = within(name, depth+1)
			} else {
				f = visit(name)
			}
			if f != nil {
				return f
			}
		}
		return nil
	}
	return within("", 0)
}
