package main

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// THREATS 1.2, the row of CVE-2019-18658: whatever two readers take differently is refused. The second reader is one of our
// own, from POSIX's description of the format, with nothing in common with the library that unpack stands on. Archives are
// good ones with bytes of their headers changed, checksums made right again.
func TestThreat_CVE_2019_18658_TwoReadersListTheSameMembers(t *testing.T) {
	long := "web/templates/" + strings.Repeat("long/", 40) + "a.yaml"
	members := append(good(), file(long, configMap("long")), special("web/folder/", '5', ""), file("web/values.yaml", "a: 1\n"))
	raw := unzipped(t, packed(t, members...))
	random := rand.New(rand.NewPCG(1, 2))
	accepted, refused := 0, 0
	for number := range 8_000 {
		changed := bytes.Clone(raw)
		if number > 0 {
			for range 1 + random.IntN(3) {
				change(random, changed)
			}
		}
		ours, f := unpack("x.tgz", zippedBytes(t, changed), newBudget())
		if f != nil {
			refused++
			continue
		}
		accepted++
		theirs, err := secondReader(changed)
		if err != nil {
			t.Fatalf("archive %d: unpack takes it, the second reader says: %v\nours: %q", number, err, slices.Sorted(maps.Keys(ours)))
		}
		if !maps.EqualFunc(ours, theirs, bytes.Equal) {
			t.Fatalf("archive %d:\nours:   %q\ntheirs: %q", number, slices.Sorted(maps.Keys(ours)), slices.Sorted(maps.Keys(theirs)))
		}
	}
	if accepted < 100 || refused < 100 {
		t.Fatalf("%d accepted, %d refused: the changes try nothing", accepted, refused)
	}
	t.Logf("%d accepted by both, %d refused", accepted, refused)
}

const block = 512

// change writes one byte into a header, at a field that readers disagree about, and makes its checksum right.
func change(random *rand.Rand, raw []byte) {
	headers := headersOf(raw)
	header := headers[random.IntN(len(headers))]
	fields := [][2]int{{0, 100}, {100, 8}, {124, 12}, {156, 1}, {157, 100}, {257, 8}, {345, 155}}
	field := fields[random.IntN(len(fields))]
	at := header + field[0] + random.IntN(field[1])
	interesting := []byte{0, ' ', '/', '.', '0', '1', '5', '7', 'x', 'g', 'L', 'K', 0x80, 0xff, '\\', 'S'}
	raw[at] = interesting[random.IntN(len(interesting))]
	sum := 0
	for i := range block {
		if i >= 148 && i < 156 {
			sum += ' '
		} else {
			sum += int(raw[header+i])
		}
	}
	copy(raw[header+148:], fmt.Sprintf("%06o\x00 ", sum))
}

// headersOf finds the headers of an archive that is still good enough for it.
func headersOf(raw []byte) []int {
	var found []int
	for at := 0; at+block <= len(raw); {
		if raw[at] == 0 {
			break
		}
		found = append(found, at)
		size, err := octal(raw[at+124 : at+136])
		if err != nil || size > int64(len(raw)) {
			break
		}
		at += block + int((size+block-1)/block*block)
	}
	if len(found) == 0 {
		return []int{0}
	}
	return found
}

// secondReader lists the files of a tar archive: POSIX ustar with PAX extended headers, nothing else.
func secondReader(raw []byte) (map[string][]byte, error) {
	files := map[string][]byte{}
	next := map[string]string{}
	for at := 0; at+block <= len(raw); {
		header := raw[at : at+block]
		if bytes.Equal(header, make([]byte, block)) {
			break
		}
		size, err := octal(header[124:136])
		if err != nil {
			return nil, err
		}
		end := at + block + int(size)
		if end > len(raw) {
			return nil, errors.New("a member is cut off")
		}
		body := raw[at+block : end]
		at += block + int((size+block-1)/block*block)
		name := terminated(header[0:100])
		if string(header[257:263]) == "ustar\x00" {
			if prefix := terminated(header[345:500]); prefix != "" {
				name = prefix + "/" + name
			}
		}
		switch header[156] {
		case 'x':
			if next, err = records(body); err != nil {
				return nil, err
			}
			continue
		case 'L':
			next["path"] = terminated(body)
			continue
		case 'g':
			continue
		}
		if path, has := next["path"]; has {
			name = path
		}
		next = map[string]string{}
		switch header[156] {
		case 0, '0':
			_, rest, _ := strings.Cut(name, "/")
			files[rest] = body
		case '5':
		default:
			return nil, fmt.Errorf("type %q", header[156])
		}
	}
	return files, nil
}

func terminated(field []byte) string {
	before, _, _ := bytes.Cut(field, []byte{0})
	return string(before)
}

func octal(field []byte) (int64, error) {
	digits := strings.Trim(string(field), " \x00")
	if digits == "" {
		return 0, nil
	}
	return strconv.ParseInt(digits, 8, 64)
}

// records reads the body of an extended header: "LENGTH KEY=VALUE\n", each.
func records(body []byte) (map[string]string, error) {
	found := map[string]string{}
	for len(body) > 0 {
		digits, _, _ := bytes.Cut(body, []byte(" "))
		length, err := strconv.Atoi(string(digits))
		if err != nil || length <= len(digits)+1 || length > len(body) {
			return nil, errors.New("a record's length")
		}
		key, value, has := bytes.Cut(body[len(digits)+1:length-1], []byte("="))
		if !has || body[length-1] != '\n' {
			return nil, errors.New("a record's form")
		}
		found[string(key)] = string(value)
		body = body[length:]
	}
	return found, nil
}
