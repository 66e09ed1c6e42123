package main

import (
	"path"
	"regexp"
	"slices"
	"strings"

	node "go.yaml.in/yaml/v3"
)

// kustomizationNames are the names of a kustomization, of which a folder has exactly one.
var kustomizationNames = []string{"kustomization.yaml", "kustomization.yml", "Kustomization"}

// A scan walks the kustomizations that a build would reach, before the build starts, and refuses what would leave the
// tree or run something: the build itself would try the network and programs first and say less.
type scan struct {
	tree *tree
	done map[visited]bool
	// openAPI tells that a kustomization sets the schema, which the library keeps for later builds.
	openAPI bool
}

type visited struct {
	folder string
	// plugins tells that the objects in it configure generators, transformers or validators.
	plugins bool
}

// A reference is a path that a kustomization names.
type reference struct {
	text  string
	field string
	line  int
	// folder tells that it may be another kustomization; plugins that its objects are configurations of plugins.
	folder, plugins bool
}

// find gives the kustomization of a folder and its content.
func (s *scan) find(folder string) (string, []byte, *Failure) {
	var found string
	var content []byte
	for _, name := range kustomizationNames {
		file := path.Join(folder, name)
		c, there, f := s.tree.file(file)
		if f != nil {
			return "", nil, f
		}
		if there && found != "" {
			return "", nil, fail(codeKustomize, file, 0, "stands beside %s; a folder has one kustomization", path.Base(found))
		}
		if there {
			found, content = file, c
		}
	}
	if found == "" {
		return "", nil, fail(codeKustomize, path.Join(folder, kustomizationNames[0]), 0, "does not exist")
	}
	return found, content, nil
}

// folder scans the kustomization in folder, reached through chain.
func (s *scan) folder(folder string, plugins bool, chain []string) *Failure {
	if s.done[visited{folder, plugins}] {
		return nil
	}
	if len(s.done) >= kustomizationsMax {
		return fail(codeSize, folder, 0, "the build reaches more than %d kustomizations", kustomizationsMax)
	}
	s.done[visited{folder, plugins}] = true
	file, content, f := s.find(folder)
	if f != nil {
		return f
	}
	root, d, f := parseKustomization(file, content)
	if f != nil {
		return f
	}
	if f := forbidden(file, d, root); f != nil {
		return f
	}
	if child(root, "openapi") != nil {
		s.openAPI = true
	}
	for _, r := range references(d, root) {
		if f := s.reference(file, r, plugins, append(slices.Clone(chain), folder)); f != nil {
			return f
		}
	}
	return nil
}

func parseKustomization(file string, content []byte) (*node.Node, document, *Failure) {
	documents, f := splitDocuments(file, content)
	if f != nil {
		return nil, document{}, f
	}
	if len(documents) == 0 {
		return nil, document{}, fail(codeKustomize, file, 0, "is empty")
	}
	if len(documents) > 1 {
		return nil, document{}, fail(codeKustomize, file, documents[1].first, "has more than one document")
	}
	_, root, f := documents[0].toJSON(file)
	if f != nil {
		return nil, document{}, f
	}
	if root.Kind != node.DocumentNode || len(root.Content) == 0 || root.Content[0].Kind != node.MappingNode {
		return nil, document{}, fail(codeKustomize, file, documents[0].first, "is not a kustomization")
	}
	return root, documents[0], nil
}

// forbidden refuses the fields that run a program.
func forbidden(file string, d document, root *node.Node) *Failure {
	for _, field := range []string{"helmCharts", "helmChartInflationGenerator", "helmGlobals"} {
		if n := child(root, field); n != nil {
			return failField(codePlugin, file, d.lineOf(n), field, "is refused: it runs a program; use a Helm source instead")
		}
	}
	return nil
}

// references gives all paths that a kustomization names, in the order of the fields below.
func references(d document, root *node.Node) []reference {
	var all []reference
	one := func(n *node.Node, r reference) {
		if n != nil && n.Kind == node.AliasNode {
			n = n.Alias
		}
		if n != nil && n.Kind == node.ScalarNode && n.Value != "" {
			r.text, r.line = n.Value, d.lineOf(n)
			all = append(all, r)
		}
	}
	list := func(n *node.Node, visit func(*node.Node)) {
		if n != nil && n.Kind == node.AliasNode {
			n = n.Alias
		}
		if n != nil && n.Kind == node.SequenceNode {
			for _, item := range n.Content {
				visit(item)
			}
		}
	}
	for _, field := range []string{"resources", "bases", "components"} {
		list(child(root, field), func(n *node.Node) { one(n, reference{field: field, folder: true}) })
	}
	for _, field := range []string{"generators", "transformers", "validators"} {
		list(child(root, field), func(n *node.Node) { one(n, reference{field: field, folder: true, plugins: true}) })
	}
	for _, field := range []string{"crds", "configurations", "patchesStrategicMerge"} {
		list(child(root, field), func(n *node.Node) { one(n, reference{field: field}) })
	}
	for _, field := range []string{"patches", "patchesJson6902", "replacements"} {
		list(child(root, field), func(n *node.Node) { one(child(n, "path"), reference{field: field + ".path"}) })
	}
	one(child(child(root, "openapi"), "path"), reference{field: "openapi.path"})
	for _, field := range []string{"configMapGenerator", "secretGenerator"} {
		list(child(root, field), func(generator *node.Node) {
			one(child(generator, "env"), reference{field: field + ".env"})
			for _, sources := range []string{"files", "envs"} {
				list(child(generator, sources), func(n *node.Node) { one(n, reference{field: field + "." + sources}) })
			}
		})
	}
	return all
}

var (
	remoteUser   = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9-]*@`)
	remotePrefix = []string{"git::", "http:", "https:", "ssh:", "file:", "github.com/", "github.com:"}
)

// isRemote tells whether Kustomize would look for a reference outside the tree, or a reader might think so.
func isRemote(text string) bool {
	lower := strings.ToLower(strings.TrimSpace(text))
	return strings.Contains(lower, "://") || strings.Contains(lower, "?ref=") || remoteUser.MatchString(lower) ||
		slices.ContainsFunc(remotePrefix, func(p string) bool { return strings.HasPrefix(lower, p) })
}

func (s *scan) reference(file string, r reference, plugins bool, chain []string) *Failure {
	plugins = plugins || r.plugins
	if strings.ContainsAny(r.text, "\n{") && (r.plugins || r.field == "patchesStrategicMerge") {
		if r.plugins {
			return pluginObjects(file, r.line, []byte(r.text))
		}
		return nil
	}
	if strings.HasSuffix(r.field, ".files") {
		if _, name, found := strings.Cut(r.text, "="); found {
			r.text = name
		}
	}
	if isRemote(r.text) {
		return failField(codeRemoteBase, file, r.line, r.field, "%q lies outside the tree; only paths of this tree are read", shorten(r.text))
	}
	folder := chain[len(chain)-1]
	target, f := cleanPath(folder, r.text)
	if f != nil {
		f.File, f.Line, f.Field = file, r.line, r.field
		return f
	}
	isFolder := false
	if r.folder {
		if isFolder, f = s.tree.isFolder(target); f != nil {
			return f
		}
	}
	if !isFolder {
		return s.file(file, r, folder, target, plugins)
	}
	for i, ancestor := range chain {
		if ancestor == target || target == "" || strings.HasPrefix(ancestor, target+"/") {
			circle := append(slices.Clone(chain[i:]), target)
			return failField(codeSpec, file, r.line, r.field, "the kustomizations include each other: %s", shorten(strings.Join(circle, " → ")))
		}
	}
	if len(chain) >= kustomizationDepthMax {
		return failField(codeSpec, file, r.line, r.field, "kustomizations are nested deeper than %d", kustomizationDepthMax)
	}
	return s.folder(target, plugins, chain)
}

// file checks a reference to a file: it lies in the folder of its kustomization, as everywhere with Kustomize.
func (s *scan) file(file string, r reference, folder, target string, plugins bool) *Failure {
	if folder != "" && target != folder && !strings.HasPrefix(target, folder+"/") {
		return failField(codePathEscape, file, r.line, r.field, "%q lies outside the kustomization's own folder; include its folder as a base", shorten(r.text))
	}
	content, found, f := s.tree.file(target)
	if f != nil {
		return f
	}
	if !found {
		return failField(codeKustomize, file, r.line, r.field, "%q does not exist", shorten(r.text))
	}
	if plugins && (r.folder || r.plugins) {
		return pluginObjects(target, 0, content)
	}
	return nil
}

// pluginObjects refuses configurations of plugins that aren't built in, and of the one built-in that runs a program.
// line is where an inline configuration stands; 0 for a file.
func pluginObjects(file string, line int, content []byte) *Failure {
	documents, f := splitDocuments(file, content)
	if f != nil {
		return f
	}
	for _, d := range documents {
		_, root, f := d.toJSON(file)
		if f != nil {
			if line > 0 {
				f.Line = line
			}
			return f
		}
		at := line
		if at == 0 {
			at = d.first
		}
		kind, version := scalar(child(root, "kind")), scalar(child(root, "apiVersion"))
		annotations := child(child(root, "metadata"), "annotations")
		switch {
		case child(annotations, "config.kubernetes.io/function") != nil || child(annotations, "config.k8s.io/function") != nil:
			return failField(codePlugin, file, at, "metadata.annotations", "configures a function that runs a program or a container")
		case version != "builtin":
			return failField(codePlugin, file, at, "apiVersion", "kind %q is not built in; plugins are not run", shorten(kind))
		case kind == "HelmChartInflationGenerator":
			return failField(codePlugin, file, at, "kind", "is refused: it runs a program; use a Helm source instead")
		}
	}
	return nil
}

func scalar(n *node.Node) string {
	if n == nil || n.Kind != node.ScalarNode {
		return ""
	}
	return n.Value
}
