package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"strings"

	node "go.yaml.in/yaml/v3"

	"countersign.dev/renderer/rendererpb"
)

// output collects the objects of one render, whatever engine made them: one gate for shape and limits.
type output struct {
	objects  []*rendererpb.RenderedObject
	warnings []string
	bytes    int
}

// add takes one document of a file: an object, a List of objects, or null, which is skipped.
func (o *output) add(file string, d document, value any, n *node.Node) *Failure {
	return o.addAt(file, d, value, n, d.first, 0)
}

func (o *output) addAt(file string, d document, value any, n *node.Node, line, depth int) *Failure {
	if value == nil {
		return nil
	}
	object, ok := value.(map[string]any)
	if !ok {
		return fail(codeYAML, file, line, "is %s; a Kubernetes object is a map", kindOf(value))
	}
	if len(object) == 0 {
		return nil
	}
	kind, f := text(object, "kind", file, line)
	if f != nil {
		return f
	}
	if _, f = text(object, "apiVersion", file, line); f != nil {
		return f
	}
	if items, isList := object["items"].([]any); isList && strings.HasSuffix(kind, "List") {
		if depth >= listDepthMax {
			return fail(codeYAMLLimit, file, line, "Lists are nested deeper than %d", listDepthMax)
		}
		nodes := child(n, "items")
		for i, item := range items {
			var itemNode *node.Node
			itemLine := line
			if nodes != nil && nodes.Kind == node.SequenceNode && i < len(nodes.Content) {
				itemNode = nodes.Content[i]
				itemLine = d.lineOf(itemNode)
			}
			if f := o.addAt(file, d, item, itemNode, itemLine, depth+1); f != nil {
				return f
			}
		}
		return nil
	}
	if kind == "List" {
		return nil
	}
	return o.addObject(file, line, object)
}

func (o *output) addObject(file string, line int, object map[string]any) *Failure {
	metadata, ok := object["metadata"].(map[string]any)
	if !ok {
		return failField(codeYAML, file, line, "metadata", "is missing; an object needs a name")
	}
	if _, f := text(metadata, "name", file, line); f != nil {
		f.Field = "metadata.name"
		if _, generated := metadata["generateName"]; generated {
			f.Message = "is missing: an object with generateName would be another one at each apply"
		}
		return f
	}
	if f := foldStringData(file, line, object); f != nil {
		return f
	}
	bytes, err := json.Marshal(object)
	if err != nil {
		return fail(codeYAML, file, line, "holds a value that JSON can't")
	}
	if len(bytes) > objectBytesMax {
		return fail(codeSize, file, line, "is an object of %d bytes; at most %d", len(bytes), objectBytesMax)
	}
	if o.bytes += len(bytes); o.bytes > outputBytesMax {
		return fail(codeSize, file, line, "the objects together are larger than %d bytes", outputBytesMax)
	}
	if len(o.objects) >= objectsMax {
		return fail(codeSize, file, line, "the render has more than %d objects", objectsMax)
	}
	o.objects = append(o.objects, &rendererpb.RenderedObject{Json: bytes, File: file, Line: uint32(max(line, 0))})
	return nil
}

func (o *output) warn(format string, args ...any) {
	const most = 100
	if len(o.warnings) < most {
		o.warnings = append(o.warnings, oneLine(fmt.Sprintf(format, args...)))
	}
}

// text gives a string field that must not be empty.
func text(object map[string]any, field, file string, line int) (string, *Failure) {
	value, there := object[field]
	if !there {
		return "", failField(codeYAML, file, line, field, "is missing")
	}
	s, ok := value.(string)
	if !ok {
		return "", failField(codeYAML, file, line, field, "must be a string, is %s", kindOf(value))
	}
	if s == "" {
		return "", failField(codeYAML, file, line, field, "is empty")
	}
	return s, nil
}

// foldStringData turns a Secret's stringData into data, as the API server does before it stores it: what is signed is
// then what a cluster holds.
func foldStringData(file string, line int, object map[string]any) *Failure {
	if object["kind"] != "Secret" || object["apiVersion"] != "v1" {
		return nil
	}
	if _, encrypted := object["sops"]; encrypted {
		// Each value is encrypted for its place; whoever decrypts it folds.
		return nil
	}
	raw, there := object["stringData"]
	if !there {
		return nil
	}
	delete(object, "stringData")
	if raw == nil {
		return nil
	}
	plain, ok := raw.(map[string]any)
	if !ok {
		return failField(codeYAML, file, line, "stringData", "must be a map, is %s", kindOf(raw))
	}
	data, ok := object["data"].(map[string]any)
	if !ok {
		if object["data"] != nil {
			return failField(codeYAML, file, line, "data", "must be a map, is %s", kindOf(object["data"]))
		}
		data = map[string]any{}
	}
	for key, value := range plain {
		s, ok := value.(string)
		if !ok {
			return failField(codeYAML, file, line, "stringData."+key, "must be a string, is %s", kindOf(value))
		}
		data[key] = base64.StdEncoding.EncodeToString([]byte(s))
	}
	if len(data) > 0 {
		object["data"] = data
	}
	return nil
}

// decode reads JSON with its integers kept as integers.
func decode(bytes []byte) (any, error) {
	d := json.NewDecoder(strings.NewReader(string(bytes)))
	d.UseNumber()
	var value any
	if err := d.Decode(&value); err != nil {
		return nil, err
	}
	return numbers(value), nil
}

// numbers turns each json.Number into int64 where it is one, else leaves it as it was written.
func numbers(value any) any {
	switch v := value.(type) {
	case map[string]any:
		for key, inner := range v {
			v[key] = numbers(inner)
		}
	case []any:
		for i, inner := range v {
			v[i] = numbers(inner)
		}
	case json.Number:
		if i, err := v.Int64(); err == nil {
			return i
		}
		if f, err := v.Float64(); err == nil && f == math.Trunc(f) && math.Abs(f) < 1<<53 {
			return int64(f)
		}
	}
	return value
}
