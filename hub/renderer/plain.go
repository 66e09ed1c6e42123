package main

import "countersign.dev/renderer/rendererpb"

// renderPlain reads files of YAML or JSON as they are, in the order of the request.
func renderPlain(t *tree, request *rendererpb.Plain, o *output) *Failure {
	for _, reference := range request.Files {
		name, f := cleanPath("", reference)
		if f != nil {
			return f
		}
		content, found, f := t.file(name)
		if f != nil {
			return f
		}
		if !found {
			return fail(codeSpec, name, 0, "does not exist")
		}
		if f := addDocuments(o, name, content); f != nil {
			return f
		}
	}
	return nil
}

// addDocuments adds each document of a file.
func addDocuments(o *output, name string, content []byte) *Failure {
	documents, f := splitDocuments(name, content)
	if f != nil {
		return f
	}
	for _, d := range documents {
		bytes, nodes, f := d.toJSON(name)
		if f != nil {
			return f
		}
		value, err := decode(bytes)
		if err != nil {
			return fail(codeYAML, name, d.first, "holds a value that JSON can't")
		}
		if f := o.add(name, d, value, nodes); f != nil {
			return f
		}
	}
	return nil
}
