package main

import (
	"bufio"
	"errors"
	"io"

	"google.golang.org/protobuf/encoding/protodelim"
	"google.golang.org/protobuf/reflect/protoreflect"

	"countersign.dev/renderer/rendererpb"
)

// errProtocol is what the other side must never do. The worker ends: nothing that follows can be trusted.
var errProtocol = errors.New("the frames are not those of this protocol")

// A server answers one request at a time over one pair of streams.
type server struct {
	in       *bufio.Reader
	out      *bufio.Writer
	policies *policySets
}

func newServer(in io.Reader, out io.Writer) *server {
	return &server{in: bufio.NewReader(in), out: bufio.NewWriter(out), policies: newPolicySets()}
}

// serve says hello and answers until the other side closes its end, which is no error.
func (s *server) serve(version string) error {
	hello := &rendererpb.FromWorker{Message: &rendererpb.FromWorker_Hello{Hello: &rendererpb.Hello{Version: version}}}
	if err := s.send(hello); err != nil {
		return err
	}
	for {
		request, err := s.receive()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		answer, err := s.answer(request)
		if err != nil {
			return err
		}
		if err := s.send(answer); err != nil {
			return err
		}
	}
}

// lost carries an error of the streams out of a render, through engines that know nothing of it.
type lost struct{ err error }

func (s *server) answer(request *rendererpb.ToWorker) (answer *rendererpb.FromWorker, err error) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case lost:
			err = r.err
		default:
			// Its text may quote a file.
			err = errors.New("an engine panicked")
		}
	}()
	switch m := request.Message.(type) {
	case *rendererpb.ToWorker_Render:
		return &rendererpb.FromWorker{Message: &rendererpb.FromWorker_Rendered{Rendered: render(s.ask, m.Render)}}, nil
	case *rendererpb.ToWorker_Policies:
		return &rendererpb.FromWorker{Message: &rendererpb.FromWorker_Policies{Policies: s.policies.load(m.Policies)}}, nil
	case *rendererpb.ToWorker_Admit:
		return &rendererpb.FromWorker{Message: &rendererpb.FromWorker_Admitted{Admitted: s.policies.admit(m.Admit)}}, nil
	default:
		return nil, errProtocol
	}
}

// ask is the asker of a render: one question, one answer, over the same streams.
func (s *server) ask(kind rendererpb.FileQuery_Kind, path string) *rendererpb.FileAnswer {
	query := &rendererpb.FileQuery{Kind: kind, Path: path}
	if err := s.send(&rendererpb.FromWorker{Message: &rendererpb.FromWorker_File{File: query}}); err != nil {
		panic(lost{err})
	}
	answer, err := s.receive()
	if err != nil {
		panic(lost{err})
	}
	file := answer.GetFile()
	if file == nil || file.Kind == rendererpb.FileAnswer_KIND_UNSPECIFIED {
		panic(lost{errProtocol})
	}
	return file
}

func (s *server) send(message *rendererpb.FromWorker) error {
	if _, err := protodelim.MarshalTo(s.out, message); err != nil {
		return err
	}
	return s.out.Flush()
}

func (s *server) receive() (*rendererpb.ToWorker, error) {
	message := &rendererpb.ToWorker{}
	if err := (protodelim.UnmarshalOptions{MaxSize: frameBytesMax}).UnmarshalFrom(s.in, message); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, err
		}
		return nil, errors.Join(errProtocol, err)
	}
	if hasUnknown(message.ProtoReflect()) {
		return nil, errProtocol
	}
	return message, nil
}

// hasUnknown tells whether a message carries fields that this worker doesn't know: a request never gets options past it.
func hasUnknown(m protoreflect.Message) bool {
	if len(m.GetUnknown()) > 0 {
		return true
	}
	found := false
	m.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		switch {
		case field.Message() == nil:
		case field.IsList():
			for i := range value.List().Len() {
				found = found || hasUnknown(value.List().Get(i).Message())
			}
		case !field.IsMap():
			found = found || hasUnknown(value.Message())
		}
		return !found
	})
	return found
}

// render answers one render.
func render(ask asker, request *rendererpb.Render) *rendererpb.Rendered {
	o := &output{}
	t := newTree(ask)
	var f *Failure
	switch how := request.How.(type) {
	case *rendererpb.Render_Plain:
		f = renderPlain(t, how.Plain, o)
	case *rendererpb.Render_Kustomize:
		f = renderKustomize(t, how.Kustomize, o)
	case *rendererpb.Render_Helm:
		f = renderHelm(t, how.Helm, request.KubernetesVersion, request.ApiVersions, o)
	default:
		f = fail(codeSpec, "", 0, "the request names nothing to render")
	}
	if f != nil {
		return &rendererpb.Rendered{Failure: f.wire(), Warnings: o.warnings}
	}
	return &rendererpb.Rendered{Objects: o.objects, Warnings: o.warnings}
}
