package main

import (
	"errors"
	"fmt"

	"countersign.dev/renderer/rendererpb"
)

// Codes of failures. They are part of the protocol: programs compare them.
const (
	codeImpure     = "RENDER_IMPURE"
	codePathEscape = "PATH_ESCAPE"
	codeRemoteBase = "REMOTE_BASE"
	codePlugin     = "PLUGIN_FORBIDDEN"
	codeYAML       = "YAML_INVALID"
	codeYAMLLimit  = "YAML_LIMIT"
	codeSize       = "SIZE_LIMIT"
	codeLock       = "LOCK_MISMATCH"
	codeChart      = "CHART_INVALID"
	codeValues     = "VALUES_INVALID"
	codeTemplate   = "TEMPLATE_FAILED"
	codeKustomize  = "KUSTOMIZE_FAILED"
	codeArchive    = "ARCHIVE_UNSAFE"
	codePolicy     = "POLICY_INVALID"
	codeSpec       = "SPEC_INVALID"
)

// A Failure says why there are no objects: a stable code, where, and words for a person. It never holds content of a
// file that was read.
type Failure struct {
	Code    string
	File    string
	Line    int
	Field   string
	Message string
}

func (f *Failure) Error() string {
	place := f.File
	if f.Line > 0 {
		place = fmt.Sprintf("%s:%d", place, f.Line)
	}
	return fmt.Sprintf("%s: %s: %s: %s", f.Code, place, f.Field, f.Message)
}

// fail makes a failure of a file; line 0 means unknown.
func fail(code, file string, line int, format string, args ...any) *Failure {
	return &Failure{Code: code, File: file, Line: line, Message: fmt.Sprintf(format, args...)}
}

// failField is fail for one field.
func failField(code, file string, line int, field, format string, args ...any) *Failure {
	f := fail(code, file, line, format, args...)
	f.Field = field
	return f
}

// asFailure gives the failure inside err, or nil.
func asFailure(err error) *Failure {
	var f *Failure
	if errors.As(err, &f) {
		return f
	}
	return nil
}

func (f *Failure) wire() *rendererpb.Failure {
	return &rendererpb.Failure{
		Code: f.Code, File: f.File, Line: uint32(max(f.Line, 0)), Field: f.Field, Message: f.Message,
	}
}
