package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/api"
	"github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/fsck"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const (
	height    = 8
	tileWidth = 1 << height
	// A check that hangs is no verdict: fsck of Tessera v1.0.4 can wait for ever on a bad tile.
	gateLimit = 60 * time.Second
	// Of a larger log, about so many records are proved.
	provedRecords = 2000
)

var errTimeout = errors.New("no verdict in time")

func verifier(file string) (note.Verifier, error) {
	vkey, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return note.NewVerifier(strings.TrimSpace(string(vkey)))
}

// gate checks a whole log with Tessera's fsck.
func gate(dir, vkeyFile string) error {
	v, err := verifier(vkeyFile)
	if err != nil {
		return err
	}
	hasher := func(raw []byte) ([][]byte, error) {
		bundle := &api.EntryBundle{}
		if err := bundle.UnmarshalText(raw); err != nil {
			return nil, err
		}
		var hashes [][]byte
		for _, entry := range bundle.Entries {
			hashes = append(hashes, rfc6962.DefaultHasher.HashLeaf(entry))
		}
		return hashes, nil
	}
	f := fsck.New(v.Name(), v, &client.FileFetcher{Root: dir}, hasher, fsck.Opts{N: 64})
	done := make(chan error, 1)
	go func() { done <- f.Check(context.Background()) }()
	select {
	case err := <-done:
		return err
	case <-time.After(gateLimit):
		return errTimeout
	}
}

// tiles reads a log's tiles for x/mod, whose paths also say the height.
type tiles struct{ dir string }

func (tiles) Height() int { return height }

func (tiles) SaveTiles([]tlog.Tile, [][]byte) {}

func (t tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, tile := range wanted {
		data, err := os.ReadFile(filepath.Join(t.dir, ourPath(tile)))
		if err != nil {
			return nil, err
		}
		all = append(all, data)
	}
	return all, nil
}

// ourPath is C2SP's path of a tile: without the height, and the records are entries.
func ourPath(tile tlog.Tile) string {
	path := "tile/" + strings.TrimPrefix(tile.Path(), "tile/8/")
	return strings.Replace(path, "tile/data/", "tile/entries/", 1)
}

// theirPath is x/mod's path for C2SP's; false for one that only the mapping would make valid.
func theirPath(path string) (string, bool) {
	rest, ok := strings.CutPrefix(path, "tile/")
	if !ok || strings.HasPrefix(rest, "data/") {
		return "", false
	}
	if entries, ok := strings.CutPrefix(rest, "entries/"); ok {
		rest = "data/" + entries
	}
	return "tile/8/" + rest, true
}

// xmod proves and checks records, and the tree of every earlier size that it samples, as a Go client would.
func xmod(dir, vkeyFile string) error {
	v, err := verifier(vkeyFile)
	if err != nil {
		return err
	}
	signed, err := os.ReadFile(filepath.Join(dir, "checkpoint"))
	if err != nil {
		return err
	}
	opened, err := note.Open(signed, note.VerifierList(v))
	if err != nil {
		return err
	}
	origin, tree, err := readCheckpoint([]byte(opened.Text))
	if err != nil {
		return err
	}
	if origin != v.Name() {
		return fmt.Errorf("the checkpoint is of %q, the key of %q", origin, v.Name())
	}
	hashes := tlog.TileHashReader(tree, tiles{dir})
	step := tree.N/provedRecords + 1
	for index := int64(0); index < tree.N; index += step {
		record, err := readRecord(dir, index, tree.N)
		if err != nil {
			return fmt.Errorf("record %d: %w", index, err)
		}
		proof, err := tlog.ProveRecord(tree.N, index, hashes)
		if err != nil {
			return fmt.Errorf("prove record %d: %w", index, err)
		}
		if err := tlog.CheckRecord(proof, tree.N, tree.Hash, index, tlog.RecordHash(record)); err != nil {
			return fmt.Errorf("check record %d: %w", index, err)
		}
		old, err := tlog.TreeHash(index+1, hashes)
		if err != nil {
			return fmt.Errorf("root of %d: %w", index+1, err)
		}
		consistency, err := tlog.ProveTree(tree.N, index+1, hashes)
		if err != nil {
			return fmt.Errorf("prove tree %d: %w", index+1, err)
		}
		if err := tlog.CheckTree(consistency, tree.N, tree.Hash, index+1, old); err != nil {
			return fmt.Errorf("check tree %d: %w", index+1, err)
		}
	}
	return nil
}

func readRecord(dir string, index, size int64) ([]byte, error) {
	bundle := tlog.Tile{H: height, L: -1, N: index / tileWidth, W: tileWidth}
	if rest := size - bundle.N*tileWidth; rest < tileWidth {
		bundle.W = int(rest)
	}
	data, err := os.ReadFile(filepath.Join(dir, ourPath(bundle)))
	if err != nil {
		return nil, err
	}
	entries := &api.EntryBundle{}
	if err := entries.UnmarshalText(data); err != nil {
		return nil, err
	}
	if len(entries.Entries) != bundle.W {
		return nil, fmt.Errorf("%d entries in a bundle of %d", len(entries.Entries), bundle.W)
	}
	return entries.Entries[index%tileWidth], nil
}
