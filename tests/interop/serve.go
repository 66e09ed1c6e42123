package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"

	f_log "github.com/transparency-dev/formats/log"
	f_note "github.com/transparency-dev/formats/note"
	"github.com/transparency-dev/formats/proof"
	"github.com/transparency-dev/formats/witness"
	"github.com/transparency-dev/tessera/api"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// request asks whether Go's readers take an input; which fields it has depends on its kind.
type request struct {
	Kind  string      `json:"kind"`
	Data  []byte      `json:"data"`
	Keys  []string    `json:"keys"`
	Index int64       `json:"index"`
	Old   int64       `json:"old"`
	Size  int64       `json:"size"`
	Leaf  tlog.Hash   `json:"leaf"`
	Root  tlog.Hash   `json:"root"`
	Proof []tlog.Hash `json:"proof"`
}

// answer says whether the input was taken, and as what; Lax, that Go takes a spelling which C2SP's text does not give.
type answer struct {
	Taken bool   `json:"taken"`
	Value string `json:"value"`
	Lax   bool   `json:"lax"`
}

// serve answers one JSON object a line.
func serve(in io.Reader, out io.Writer) error {
	reader, writer := bufio.NewReader(in), bufio.NewWriter(out)
	for {
		line, err := reader.ReadBytes('\n')
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		var asked request
		if err := json.Unmarshal(line, &asked); err != nil {
			return fmt.Errorf("request %q: %w", line, err)
		}
		said, err := reply(asked)
		if err != nil {
			return err
		}
		text, err := json.Marshal(said)
		if err != nil {
			return err
		}
		if _, err := writer.Write(append(text, '\n')); err != nil {
			return err
		}
		// Whoever asks many at once gets the answers at once.
		if reader.Buffered() == 0 {
			if err := writer.Flush(); err != nil {
				return err
			}
		}
	}
}

func reply(asked request) (answer, error) {
	switch asked.Kind {
	case "note":
		return openNote(asked.Data, asked.Keys), nil
	case "vkey":
		return readVkey(string(asked.Data)), nil
	case "checkpoint":
		return checkpointAnswer(asked.Data), nil
	case "path":
		return readPath(string(asked.Data)), nil
	case "record":
		err := tlog.CheckRecord(asked.Proof, asked.Size, asked.Root, asked.Index, asked.Leaf)
		return answer{Taken: err == nil}, nil
	case "tree":
		err := tlog.CheckTree(asked.Proof, asked.Size, asked.Root, asked.Old, asked.Leaf)
		return answer{Taken: err == nil}, nil
	case "proof":
		return readProof(asked.Data), nil
	case "bundle":
		return readBundle(asked.Data), nil
	case "policy":
		return readPolicy(asked.Data, asked.Keys), nil
	}
	return answer{}, fmt.Errorf("no kind %q", asked.Kind)
}

// newVerifier reads a key by its kind. The reader of witness keys would take a log's as one of its own.
func newVerifier(vkey string) (note.Verifier, error) {
	parts := strings.SplitN(vkey, "+", 3)
	key, err := base64.StdEncoding.DecodeString(parts[len(parts)-1])
	if err == nil && len(parts) == 3 && len(key) > 0 && key[0] == 4 {
		return f_note.NewVerifierForCosignatureV1(vkey)
	}
	return note.NewVerifier(vkey)
}

// readVkey: Go also takes ids in capitals, any id of a witness's key, and base64 with line breaks or stray bits.
func readVkey(text string) answer {
	v, err := newVerifier(text)
	if err != nil {
		return answer{}
	}
	_, rest, _ := strings.Cut(text, "+")
	id, key, _ := strings.Cut(rest, "+")
	strict := strictBase64(key) && id == fmt.Sprintf("%08x", v.KeyHash())
	return answer{Taken: true, Value: fmt.Sprintf("%s %08x", v.Name(), v.KeyHash()), Lax: !strict}
}

func openNote(data []byte, keys []string) answer {
	var known []note.Verifier
	for _, key := range keys {
		v, err := newVerifier(key)
		if err != nil {
			return answer{}
		}
		known = append(known, v)
	}
	n, err := note.Open(data, note.VerifierList(known...))
	if err != nil {
		return answer{}
	}
	names := []string{}
	for _, sig := range n.Sigs {
		names = append(names, fmt.Sprintf("%s+%08x", sig.Name, sig.Hash))
	}
	value := fmt.Sprintf("%q %s %d", n.Text, strings.Join(names, " "), len(n.UnverifiedSigs))
	return answer{Taken: true, Value: value, Lax: !strictNote(data)}
}

// strictNote says whether each signature line has the one spelling of its base64: Go's reader also takes stray bits
// past the end.
func strictNote(data []byte) bool {
	split := bytes.LastIndex(data, []byte("\n\n"))
	for line := range strings.SplitSeq(strings.TrimSuffix(string(data[split+2:]), "\n"), "\n") {
		if at := strings.LastIndex(line, " "); at < 0 || !strictBase64(line[at+1:]) {
			return false
		}
	}
	return true
}

func strictBase64(text string) bool {
	_, err := base64.StdEncoding.Strict().DecodeString(text)
	return err == nil && !strings.ContainsAny(text, "\r\n")
}

func readCheckpoint(text []byte) (string, tlog.Tree, error) {
	var c f_log.Checkpoint
	rest, err := c.Unmarshal(text)
	if err != nil {
		return "", tlog.Tree{}, err
	}
	if len(rest) > 0 || len(c.Hash) != tlog.HashSize || c.Size > math.MaxInt64 {
		return "", tlog.Tree{}, errors.New("not three lines with a size and a hash")
	}
	return c.Origin, tlog.Tree{N: int64(c.Size), Hash: tlog.Hash(c.Hash)}, nil
}

// checkpointAnswer: Go also takes sizes with leading zeros and base64 with stray bits.
func checkpointAnswer(text []byte) answer {
	origin, tree, err := readCheckpoint(text)
	if err != nil {
		return answer{}
	}
	again := f_log.Checkpoint{Origin: origin, Size: uint64(tree.N), Hash: tree.Hash[:]}.Marshal()
	return answer{
		Taken: true,
		Value: fmt.Sprintf("%q %d %s", origin, tree.N, tree.Hash),
		Lax:   !bytes.Equal(again, text),
	}
}

// readPath: Go has no highest level.
func readPath(path string) answer {
	theirs, ok := theirPath(path)
	if !ok {
		return answer{}
	}
	tile, err := tlog.ParseTilePath(theirs)
	if err != nil {
		return answer{}
	}
	return answer{Taken: true, Value: ourPath(tile), Lax: tile.L > 63}
}

// readProof: Go also takes other spellings of numbers, base64 and line ends, any text as the checkpoint, and none.
func readProof(data []byte) answer {
	var p proof.TLogProof
	if err := p.Unmarshal(data); err != nil {
		return answer{}
	}
	_, err := note.Open(p.Checkpoint, note.VerifierList())
	var unverified *note.UnverifiedNoteError
	strict := bytes.Equal(p.Marshal(), data) && errors.As(err, &unverified) && strictNote(p.Checkpoint)
	for line := range strings.SplitSeq(string(data), "\n") {
		if line == "" {
			break
		}
		if text, ok := strings.CutPrefix(line, "extra "); ok && !strictBase64(text) {
			strict = false
		}
	}
	strict = strict && p.Index <= math.MaxInt64 && len(p.Hashes) <= 64
	return answer{Taken: true, Value: fmt.Sprintf("%d %d %d", p.Index, len(p.Hashes), len(p.Checkpoint)), Lax: !strict}
}

func readBundle(data []byte) answer {
	var bundle api.EntryBundle
	if err := bundle.UnmarshalText(data); err != nil {
		return answer{}
	}
	total := 0
	for _, entry := range bundle.Entries {
		total += len(entry)
	}
	return answer{Taken: true, Value: fmt.Sprintf("%d %d", len(bundle.Entries), total)}
}

// readPolicy says whether a policy is read, and whether a note (the first of keys, in this kind) satisfies it.
func readPolicy(data []byte, notes []string) answer {
	group, err := witness.ParsePolicy(data)
	if err != nil {
		return answer{}
	}
	value := ""
	for _, text := range notes {
		value += fmt.Sprintf("%t ", group.Satisfied([]byte(text)))
	}
	return answer{Taken: true, Value: value}
}
