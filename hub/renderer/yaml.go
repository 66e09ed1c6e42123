package main

import (
	"bytes"
	"regexp"
	"strconv"
	"strings"

	node "go.yaml.in/yaml/v3"
	"sigs.k8s.io/yaml"
)

// A document is one YAML document of a file.
type document struct {
	text []byte
	// line of the file at which text begins, from 1.
	line int
	// first is the line of its first content.
	first int
}

// splitDocuments cuts a file at its document markers. Documents without content are left out.
//
// A line that starts with "---" or "..." always ends a document in YAML, even inside a block scalar or a quoted one.
func splitDocuments(file string, content []byte) ([]document, *Failure) {
	content = bytes.TrimPrefix(content, []byte("\xef\xbb\xbf"))
	var documents []document
	current := document{line: 1}
	var text bytes.Buffer
	finish := func() *Failure {
		if current.first > 0 {
			current.text = bytes.Clone(text.Bytes())
			if documents = append(documents, current); len(documents) > documentsMax {
				return fail(codeYAMLLimit, file, current.line, "has more than %d documents", documentsMax)
			}
		}
		return nil
	}
	number := 0
	for line := range bytes.Lines(content) {
		number++
		marker := isMarker(line)
		if marker || isEnd(line) {
			if f := finish(); f != nil {
				return nil, f
			}
			text.Reset()
			current = document{line: number}
			if marker {
				line = append([]byte("   "), line[3:]...)
			} else {
				line = []byte("\n")
			}
		} else if current.first == 0 && line[0] == '%' {
			line = []byte("\n")
		}
		if trimmed := bytes.TrimSpace(line); current.first == 0 && len(trimmed) > 0 && trimmed[0] != '#' {
			current.first = number
		}
		text.Write(line)
	}
	if f := finish(); f != nil {
		return nil, f
	}
	return documents, nil
}

func isMarker(line []byte) bool {
	return bytes.HasPrefix(line, []byte("---")) && (len(line) == 3 || bytes.ContainsRune([]byte(" \t\r\n"), rune(line[3])))
}

func isEnd(line []byte) bool {
	return bytes.HasPrefix(line, []byte("...")) && len(bytes.TrimSpace(line[3:])) == 0
}

// toJSON gives the document as JSON, meaning what the API server's own reader takes it to mean, and its nodes for
// positions. A key that is set twice is refused; one that a merge key brings and the map sets again is not.
func (d document) toJSON(file string) ([]byte, *node.Node, *Failure) {
	var root node.Node
	if err := node.Unmarshal(d.text, &root); err != nil {
		return nil, nil, d.invalid(file, err)
	}
	shape, f := d.checkShape(file, &root)
	if f != nil {
		return nil, nil, f
	}
	out, err := yaml.YAMLToJSONStrict(d.text)
	if err != nil && shape.merges && strings.Contains(err.Error(), "already set in map") {
		out, err = yaml.YAMLToJSON(d.text)
	}
	if err != nil {
		return nil, nil, d.invalid(file, err)
	}
	return out, &root, nil
}

var yamlLine = regexp.MustCompile(`line (\d+)`)

// invalid turns a parser's error into a failure. Parsers quote what they read: only the line and the kind of the
// complaint are kept.
func (d document) invalid(file string, err error) *Failure {
	line := d.first
	if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
		if n, e := strconv.Atoi(m[1]); e == nil {
			line = d.line + n - 1
		}
	}
	if strings.Contains(err.Error(), "exceeded max depth") {
		return fail(codeYAMLLimit, file, line, "is nested deeper than %d", depthMax)
	}
	return fail(codeYAML, file, line, "is not valid YAML: %s", complaint(err))
}

var complaints = []string{
	"could not find expected ':'", "did not find expected key", "did not find expected node content",
	"did not find expected '-' indicator", "did not find expected ',' or ']'", "did not find expected ',' or '}'",
	"did not find expected alphabetic or numeric character", "found character that cannot start any token",
	"found a tab character that violates indentation", "found unexpected end of stream", "found unknown escape character",
	"found undefined tag handle", "mapping values are not allowed", "block sequence entries are not allowed",
	"control characters are not allowed", "invalid leading UTF-8 octet", "incomplete UTF-8", "unknown anchor",
	"already set in map", "invalid map key",
	"unsupported value", "cannot decode", "map merge requires map", "anchor", "invalid base64",
}

func complaint(err error) string {
	text := err.Error()
	for _, known := range complaints {
		if strings.Contains(text, known) {
			if known == "already set in map" {
				return "a key is set twice"
			}
			return known
		}
	}
	return "it can't be read"
}

// shape is what the check of a document's nodes found.
type shape struct {
	merges  bool
	aliases int
	cost    map[*node.Node]int
	open    map[*node.Node]bool
}

// checkShape bounds depth, aliases and the size after expansion, and finds keys that are set twice.
func (d document) checkShape(file string, root *node.Node) (*shape, *Failure) {
	s := &shape{cost: map[*node.Node]int{}, open: map[*node.Node]bool{}}
	if _, f := s.visit(d, file, root, 0); f != nil {
		return nil, f
	}
	return s, nil
}

func (s *shape) visit(d document, file string, n *node.Node, depth int) (int, *Failure) {
	line := d.line + max(n.Line, 1) - 1
	if depth > depthMax {
		return 0, fail(codeYAMLLimit, file, line, "is nested deeper than %d", depthMax)
	}
	if s.open[n] {
		return 0, fail(codeYAMLLimit, file, line, "an alias stands inside its own anchor")
	}
	if c, ok := s.cost[n]; ok {
		return c, nil
	}
	s.open[n] = true
	defer delete(s.open, n)
	total := 1
	children := n.Content
	if n.Kind == node.AliasNode {
		if s.aliases++; s.aliases > aliasesMax {
			return 0, fail(codeYAMLLimit, file, line, "has more than %d aliases", aliasesMax)
		}
		children = []*node.Node{n.Alias}
	}
	if n.Kind == node.MappingNode {
		if f := s.keys(d, file, n); f != nil {
			return 0, f
		}
	}
	for _, child := range children {
		c, f := s.visit(d, file, child, depth+1)
		if f != nil {
			return 0, f
		}
		if total += c; total > expandedNodesMax {
			return 0, fail(codeYAMLLimit, file, line, "grows beyond %d nodes when its aliases are expanded", expandedNodesMax)
		}
	}
	s.cost[n] = total
	return total, nil
}

func (s *shape) keys(d document, file string, n *node.Node) *Failure {
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		if key.Tag == "!!merge" {
			s.merges = true
			continue
		}
		if key.Kind != node.ScalarNode {
			continue
		}
		if seen[key.Value] {
			return fail(codeYAML, file, d.line+key.Line-1, "is not valid YAML: a key is set twice")
		}
		seen[key.Value] = true
	}
	return nil
}

// lineOf gives the line of the file on which n stands.
func (d document) lineOf(n *node.Node) int {
	if n == nil || n.Line == 0 {
		return d.first
	}
	return d.line + n.Line - 1
}

// child gives the value of a mapping's key, or nil.
func child(n *node.Node, key string) *node.Node {
	if n == nil {
		return nil
	}
	if n.Kind == node.DocumentNode && len(n.Content) > 0 {
		n = n.Content[0]
	}
	if n.Kind == node.AliasNode {
		n = n.Alias
	}
	if n.Kind != node.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

// checkYAML bounds a file that a library is going to parse by itself.
func checkYAML(file string, content []byte) *Failure {
	documents, f := splitDocuments(file, content)
	if f != nil {
		return f
	}
	for _, d := range documents {
		var root node.Node
		if err := node.Unmarshal(d.text, &root); err != nil {
			return d.invalid(file, err)
		}
		if _, f := d.checkShape(file, &root); f != nil && f.Code == codeYAMLLimit {
			return f
		}
	}
	return nil
}

// kindOf names a JSON value's type for a person.
func kindOf(value any) string {
	switch value.(type) {
	case nil:
		return "null"
	case map[string]any:
		return "a map"
	case []any:
		return "a list"
	case string:
		return "a string"
	case bool:
		return "a boolean"
	default:
		return "a number"
	}
}

// templateJSON is toJSON for what a template printed: there a key that is set twice counts as its last, as in Helm;
// the second result says so.
func (d document) templateJSON(file string) ([]byte, bool, *Failure) {
	out, _, f := d.toJSON(file)
	if f == nil || !strings.Contains(f.Message, "a key is set twice") {
		return out, false, f
	}
	out, err := yaml.YAMLToJSON(d.text)
	if err != nil {
		return nil, false, d.invalid(file, err)
	}
	return out, true, nil
}
