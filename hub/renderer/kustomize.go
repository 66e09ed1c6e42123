package main

import (
	"path"
	"slices"
	"strings"

	node "go.yaml.in/yaml/v3"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/resource"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/openapi"

	"countersign.dev/renderer/rendererpb"
)

// renderKustomize builds a folder with Kustomize's own defaults: files only from a kustomization's own folder, no
// plugins, no sorting.
func renderKustomize(t *tree, request *rendererpb.Kustomize, o *output) *Failure {
	folder, f := cleanPath("", request.Folder)
	if f != nil {
		return f
	}
	s := &scan{tree: t, done: map[visited]bool{}}
	if f := s.folder(folder, false, nil); f != nil {
		return f
	}
	file, content, f := s.find(folder)
	if f != nil {
		return f
	}
	asked, withOrigins := askForOrigins(content)
	view := &kustomizeFS{tree: t, replaced: map[string][]byte{file: withOrigins}}
	if s.openAPI {
		defer openapi.ResetOpenAPI()
	}
	options := &krusty.Options{
		Reorder:          krusty.ReorderOptionNone,
		LoadRestrictions: types.LoadRestrictionsRootOnly,
		PluginConfig:     types.DisabledPluginConfig(),
	}
	built, err := krusty.MakeKustomizer(options).Run(view, path.Join(mount, folder))
	if view.refused != nil {
		return view.refused
	}
	if err != nil {
		return fail(codeKustomize, file, 0, "%s", kustomizeMessage(t, err))
	}
	for _, r := range built.Resources() {
		if f := addResource(o, folder, file, r, asked); f != nil {
			return f
		}
	}
	return nil
}

// askForOrigins makes Kustomize note which file an object came from. The first result tells that the kustomization
// asks for these notes itself, so that they are its own and stay.
func askForOrigins(content []byte) (bool, []byte) {
	var root node.Node
	if err := node.Unmarshal(content, &root); err != nil || len(root.Content) == 0 || root.Content[0].Kind != node.MappingNode {
		return false, content
	}
	origins := &node.Node{Kind: node.ScalarNode, Tag: "!!str", Value: types.OriginAnnotations}
	options := child(&root, "buildMetadata")
	switch {
	case options == nil:
		key := &node.Node{Kind: node.ScalarNode, Tag: "!!str", Value: "buildMetadata"}
		list := &node.Node{Kind: node.SequenceNode, Tag: "!!seq", Content: []*node.Node{origins}}
		root.Content[0].Content = append(root.Content[0].Content, key, list)
	case options.Kind != node.SequenceNode:
		return false, content
	case slices.ContainsFunc(options.Content, func(n *node.Node) bool { return n.Value == types.OriginAnnotations }):
		return true, content
	default:
		options.Content = append(options.Content, origins)
	}
	changed, err := node.Marshal(&root)
	if err != nil {
		return true, content
	}
	return false, changed
}

const originAnnotation = "config.kubernetes.io/origin"

func addResource(o *output, folder, file string, r *resource.Resource, asked bool) *Failure {
	if origin, err := r.GetOrigin(); err == nil && origin != nil {
		if named := origin.Path; named != "" {
			file = path.Join(folder, named)
		} else if by := origin.ConfiguredIn; by != "" {
			file = path.Join(folder, by)
		}
	}
	bytes, err := r.MarshalJSON()
	if err != nil {
		return fail(codeKustomize, file, 0, "the build gives an object that JSON can't hold")
	}
	value, err := decode(bytes)
	if err != nil {
		return fail(codeKustomize, file, 0, "the build gives an object that JSON can't hold")
	}
	if object, ok := value.(map[string]any); ok && !asked {
		dropOrigin(object)
	}
	return o.add(file, document{}, value, nil)
}

func dropOrigin(object map[string]any) {
	metadata, _ := object["metadata"].(map[string]any)
	annotations, _ := metadata["annotations"].(map[string]any)
	if annotations == nil {
		return
	}
	delete(annotations, originAnnotation)
	if len(annotations) == 0 {
		delete(metadata, "annotations")
	}
}

// kustomizeMessage keeps Kustomize's words, its paths as they are in the tree, without what it quotes of files.
func kustomizeMessage(t *tree, err error) string {
	var paths []string
	for q := range t.answers {
		paths = append(paths, q.path)
	}
	slices.Sort(paths)
	message := strings.ReplaceAll(err.Error(), mount+"/", "")
	return redact(strings.ReplaceAll(message, mount, "."), t.contents, paths...)
}
