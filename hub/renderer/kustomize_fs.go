package main

import (
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// mount is where Kustomize sees the tree. All else is absent, so that a path that climbs out of the tree is noticed.
const mount = "/tree"

// kustomizeFS is the tree as Kustomize wants a file system: absolute paths, read-only.
//
// Kustomize tries names and takes an error for absence; refused remembers the first answer that was a refusal.
type kustomizeFS struct {
	tree    *tree
	refused *Failure
	// replaced gives other bytes for some files: the root kustomization asks for origins.
	replaced map[string][]byte
}

var _ filesys.FileSystem = &kustomizeFS{}

// inTree gives the path in the tree of a path that Kustomize uses.
func (k *kustomizeFS) inTree(name string) (string, error) {
	clean := path.Clean("/" + name)
	if clean == mount {
		return "", nil
	}
	rest, ok := strings.CutPrefix(clean, mount+"/")
	if !ok {
		k.refuse(fail(codePathEscape, "", 0, "%q leaves the tree", shorten(name)))
		return "", notExist(name)
	}
	return rest, nil
}

func (k *kustomizeFS) refuse(f *Failure) {
	if k.refused == nil {
		k.refused = f
	}
}

func notExist(name string) error { return &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist} }

func readOnly(name string) error {
	return &fs.PathError{Op: "write", Path: name, Err: fs.ErrPermission}
}

func (k *kustomizeFS) ReadFile(name string) ([]byte, error) {
	inner, err := k.inTree(name)
	if err != nil {
		return nil, err
	}
	if content, ok := k.replaced[inner]; ok {
		return content, nil
	}
	content, found, f := k.tree.file(inner)
	if f == nil && found {
		if limit := checkYAML(inner, content); limit != nil && limit.Code == codeYAMLLimit {
			f = limit
		}
	}
	if f != nil {
		k.refuse(f)
		return nil, f
	}
	if !found {
		return nil, notExist(name)
	}
	return content, nil
}

func (k *kustomizeFS) IsDir(name string) bool {
	inner, err := k.inTree(name)
	if err != nil {
		return false
	}
	folder, f := k.tree.isFolder(inner)
	if f != nil {
		k.refuse(f)
	}
	return folder
}

func (k *kustomizeFS) isFile(name string) bool {
	inner, err := k.inTree(name)
	if err != nil {
		return false
	}
	file, f := k.tree.isFile(inner)
	if f != nil {
		k.refuse(f)
	}
	return file
}

func (k *kustomizeFS) Exists(name string) bool { return k.IsDir(name) || k.isFile(name) }

func (k *kustomizeFS) CleanedAbs(name string) (filesys.ConfirmedDir, string, error) {
	clean := path.Clean("/" + name)
	switch {
	case k.IsDir(clean):
		return filesys.ConfirmedDir(clean), "", nil
	case k.isFile(clean):
		return filesys.ConfirmedDir(path.Dir(clean)), path.Base(clean), nil
	default:
		return "", "", fmt.Errorf("'%s' doesn't exist", name)
	}
}

func (k *kustomizeFS) ReadDir(name string) ([]string, error) {
	inner, err := k.inTree(name)
	if err != nil {
		return nil, err
	}
	entries, f := k.tree.list(inner)
	if f != nil {
		k.refuse(f)
		return nil, f
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name)
	}
	return names, nil
}

// Glob is not needed: fields of a kustomization take no patterns any more.
func (k *kustomizeFS) Glob(string) ([]string, error) { return nil, nil }

func (k *kustomizeFS) Open(name string) (filesys.File, error)   { return nil, notExist(name) }
func (k *kustomizeFS) Create(name string) (filesys.File, error) { return nil, readOnly(name) }
func (k *kustomizeFS) Mkdir(name string) error                  { return readOnly(name) }
func (k *kustomizeFS) MkdirAll(name string) error               { return readOnly(name) }
func (k *kustomizeFS) RemoveAll(name string) error              { return readOnly(name) }
func (k *kustomizeFS) WriteFile(name string, _ []byte) error    { return readOnly(name) }
func (k *kustomizeFS) Walk(name string, _ filepath.WalkFunc) error {
	return readOnly(name)
}
