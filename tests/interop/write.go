package main

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"

	f_log "github.com/transparency-dev/formats/log"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const origin = "interop.example/log"

// makeLog writes a log of size entries with x/mod, as if it had been published at half its size too; entries and key
// follow from the seed. The key to read it with goes to the file vkey.
func makeLog(dir string, size int64, seed byte) error {
	skey, vkey := keyPair(origin, seed)
	signer, err := note.NewSigner(skey)
	if err != nil {
		return err
	}
	var stored []tlog.Hash
	read := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		var hashes []tlog.Hash
		for _, index := range indexes {
			hashes = append(hashes, stored[index])
		}
		return hashes, nil
	})
	var entries [][]byte
	published := int64(0)
	for _, next := range []int64{size / 2, size} {
		for n := int64(len(entries)); n < next; n++ {
			entry := makeEntry(n, seed)
			entries = append(entries, entry)
			hashes, err := tlog.StoredHashes(n, entry, read)
			if err != nil {
				return err
			}
			stored = append(stored, hashes...)
		}
		for _, tile := range tlog.NewTiles(height, published, next) {
			data, err := tlog.ReadTileData(tile, read)
			if err != nil {
				return err
			}
			if err := write(dir, ourPath(tile), data); err != nil {
				return err
			}
			if tile.L > 0 {
				continue
			}
			var bundle []byte
			for _, entry := range entries[tile.N*tileWidth : tile.N*tileWidth+int64(tile.W)] {
				bundle = binary.BigEndian.AppendUint16(bundle, uint16(len(entry)))
				bundle = append(bundle, entry...)
			}
			tile.L = -1
			if err := write(dir, ourPath(tile), bundle); err != nil {
				return err
			}
		}
		published = next
	}
	root, err := tlog.TreeHash(size, read)
	if err != nil {
		return err
	}
	checkpoint := f_log.Checkpoint{Origin: origin, Size: uint64(size), Hash: root[:]}
	signed, err := note.Sign(&note.Note{Text: string(checkpoint.Marshal())}, signer)
	if err != nil {
		return err
	}
	if err := write(dir, "checkpoint", signed); err != nil {
		return err
	}
	return write(dir, "vkey", []byte(vkey+"\n"))
}

// makeEntry is an entry of up to some hundred bytes, some of them empty.
func makeEntry(n int64, seed byte) []byte {
	hash := sha256.Sum256(fmt.Appendf(nil, "%d %d", seed, n))
	entry := []byte{}
	for range hash[0] % 9 {
		entry = append(entry, hash[:]...)
	}
	return entry
}

func keyPair(name string, seed byte) (skey, vkey string) {
	seeds := make([]byte, ed25519.SeedSize)
	for i := range seeds {
		seeds[i] = seed
	}
	public := append([]byte{1}, ed25519.NewKeyFromSeed(seeds).Public().(ed25519.PublicKey)...)
	hash := sha256.Sum256(append([]byte(name+"\n"), public...))
	id := binary.BigEndian.Uint32(hash[:4])
	encode := base64.StdEncoding.EncodeToString
	skey = fmt.Sprintf("PRIVATE+KEY+%s+%08x+%s", name, id, encode(append([]byte{1}, seeds...)))
	return skey, fmt.Sprintf("%s+%08x+%s", name, id, encode(public))
}

func write(dir, path string, data []byte) error {
	path = filepath.Join(dir, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o644)
}
