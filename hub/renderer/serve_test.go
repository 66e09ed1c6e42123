package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"testing"

	"google.golang.org/protobuf/encoding/protodelim"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"countersign.dev/renderer/rendererpb"
)

// conversation plays the hub's frames to a server and gives what it answered.
func conversation(t *testing.T, frames ...[]byte) ([]*rendererpb.FromWorker, error) {
	t.Helper()
	var in, out bytes.Buffer
	for _, frame := range frames {
		in.Write(protowire.AppendVarint(nil, uint64(len(frame))))
		in.Write(frame)
	}
	err := newServer(&in, &out).serve("test")
	var answers []*rendererpb.FromWorker
	reader := bufio.NewReader(&out)
	for {
		answer := &rendererpb.FromWorker{}
		if e := protodelim.UnmarshalFrom(reader, answer); errors.Is(e, io.EOF) {
			return answers, err
		} else if e != nil {
			t.Fatal(e)
		}
		answers = append(answers, answer)
	}
}

func frame(t *testing.T, message *rendererpb.ToWorker) []byte {
	t.Helper()
	bytes, err := proto.Marshal(message)
	if err != nil {
		t.Fatal(err)
	}
	return bytes
}

func renderFrame(t *testing.T, names ...string) []byte {
	return frame(t, &rendererpb.ToWorker{Message: &rendererpb.ToWorker_Render{Render: &rendererpb.Render{
		How: &rendererpb.Render_Plain{Plain: &rendererpb.Plain{Files: names}}}}})
}

func fileFrame(t *testing.T, content string) []byte {
	return frame(t, &rendererpb.ToWorker{Message: &rendererpb.ToWorker_File{File: &rendererpb.FileAnswer{Kind: rendererpb.FileAnswer_FILE, Content: []byte(content)}}})
}

func TestServeAsksForEachFileOnceAndAnswers(t *testing.T) {
	answers, err := conversation(t, renderFrame(t, "a", "a"), fileFrame(t, configMap("x")), renderFrame(t, "a"), fileFrame(t, configMap("y")))
	if err != nil || len(answers) != 5 {
		t.Fatalf("%d answers, %v", len(answers), err)
	}
	if answers[0].GetHello().Version != "test" || answers[1].GetFile().Path != "a" || answers[2].GetRendered() == nil || answers[3].GetFile().Path != "a" {
		t.Fatal(answers)
	}
}

// THREATS 1.2: repo-server RCE of July 2026.
func TestThreat_RepoServerRCE_UnknownFieldsEndTheWorker(t *testing.T) {
	unknown := func(bytes []byte) []byte {
		return protowire.AppendString(protowire.AppendTag(bytes, 99, protowire.BytesType), "--enable-helm")
	}
	var inner []byte
	inner = protowire.AppendTag(inner, 1, protowire.BytesType)
	inner = protowire.AppendBytes(inner, unknown(nil))
	for name, frames := range map[string][][]byte{
		"in the message":       {unknown(renderFrame(t, "a"))},
		"deep in the request":  {inner},
		"in an answer":         {renderFrame(t, "a"), unknown(fileFrame(t, "x"))},
		"no message":           {{}},
		"an answer to nothing": {fileFrame(t, "x")},
		"a request for a file": {renderFrame(t, "a"), renderFrame(t, "b")},
		"garbage":              {{0xff, 0xff, 0xff}},
		"an answer of no kind": {renderFrame(t, "a"), frame(t, &rendererpb.ToWorker{Message: &rendererpb.ToWorker_File{File: &rendererpb.FileAnswer{}}})},
	} {
		t.Run(name, func(t *testing.T) {
			answers, err := conversation(t, frames...)
			if !errors.Is(err, errProtocol) {
				t.Fatalf("%v, %v", answers, err)
			}
		})
	}
	var in, out bytes.Buffer
	in.Write(protowire.AppendVarint(nil, frameBytesMax+1))
	if err := newServer(&in, &out).serve("test"); !errors.Is(err, errProtocol) {
		t.Fatal(err)
	}
}
