package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"countersign.dev/renderer/rendererpb"
)

// member is one entry of an archive as a hostile tool may write it.
type member struct {
	tar.Header
	body string
}

func file(name, body string) member {
	return member{tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(body))}, body}
}

func special(name string, kind byte, link string) member {
	return member{tar.Header{Name: name, Typeflag: kind, Linkname: link, Mode: 0o644}, ""}
}

func packed(t *testing.T, members ...member) []byte {
	t.Helper()
	var out bytes.Buffer
	zipped := gzip.NewWriter(&out)
	writer := tar.NewWriter(zipped)
	for _, m := range members {
		if err := writer.WriteHeader(&m.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := writer.Write([]byte(m.body)); err != nil {
			t.Fatal(err)
		}
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zipped.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func chartArchive(t *testing.T, content map[string]string) []byte {
	t.Helper()
	var members []member
	for _, name := range slices.Sorted(maps.Keys(content)) {
		members = append(members, file(name, content[name]))
	}
	return packed(t, members...)
}

func good() []member {
	return []member{file("web/Chart.yaml", "apiVersion: v2\nname: web\nversion: 1.0.0\n"), file("web/templates/a.yaml", configMap("x"))}
}

// THREATS 1.2: CVE-2019-18658, CVE-2019-1000008, CVE-2024-25620, CVE-2026-35204, CVE-2026-35206 (Helm); CVE-2021-21272,
// CVE-2026-50162, -50163, -85731 (ORAS); RUSTSEC-2026-0067/0068, RUSTSEC-2025-0110, RUSTSEC-2025-0168, CVE-2025-66626.
func TestThreat_CVE_2019_18658_UnsafeArchivesAreRefused(t *testing.T) {
	cases := map[string][]byte{
		"not gzip":       []byte("hello"),
		"empty":          {0x1f, 0x8b},
		"cut off":        packed(t, good()...)[:80],
		"two streams":    append(packed(t, good()...), packed(t, good()...)...),
		"trailing bytes": append(packed(t, good()...), "more"...),
	}
	for _, name := range []string{
		".", "..", "./web/x", "../x", "web/../../x", "web/..", "/web/x", "/etc/passwd", "web//x", "web/./x", `web\x`, `..\x`, "C:/x", "c:x",
		"web/a/../b", "web/x/..", "web/x/.", "web/x//y", "//web/x", `web\..\x`, `C:\x`, "z:web", "other/x", "x", "web/" + strings.Repeat("../", 40) + "etc/passwd",
	} {
		cases["file named "+name] = packed(t, append(good(), file(name, "x"))...)
	}
	for _, name := range []string{"..", "/web", "web/../..", "web//a/", "other/"} {
		cases["folder named "+name] = packed(t, append(good(), special(name, tar.TypeDir, ""))...)
	}
	for kind, label := range map[byte]string{
		tar.TypeSymlink: "symlink", tar.TypeLink: "hard link", tar.TypeChar: "character device", tar.TypeBlock: "block device", tar.TypeFifo: "fifo",
	} {
		for _, target := range []string{"", "/etc/passwd", "../../x", "templates"} {
			if (kind != tar.TypeSymlink && kind != tar.TypeLink) && target != "" {
				continue
			}
			cases[label+" to "+target] = packed(t, append(good(), special("web/link", kind, target))...)
		}
	}
	cases["symlink, then a file below it"] = packed(t, append(good(), special("web/d", tar.TypeSymlink, "/tmp"), file("web/d/x", "x"))...)
	cases["folder, then a file of its name"] = packed(t, append(good(), special("web/d/", tar.TypeDir, ""), file("web/d", "x"))...)
	cases["file, then a file below it"] = packed(t, append(good(), file("web/d", "x"), file("web/d/x", "x"))...)
	cases["one name twice"] = packed(t, append(good(), file("web/templates/a.yaml", "y"))...)
	for bit, label := range map[int64]string{0o4000: "setuid", 0o2000: "setgid", 0o1000: "sticky"} {
		m := file("web/x", "x")
		m.Mode |= bit
		cases[label] = packed(t, append(good(), m)...)
	}
	for _, record := range []string{"GNU.sparse.major", "GNU.sparse.size", "GNU.sparse.realsize"} {
		m := file("web/x", "x")
		m.Format, m.PAXRecords = tar.FormatPAX, map[string]string{"COUNTERSIGN.x": "1"}
		cases["sparse "+record] = renamed(t, append(good(), m), "COUNTERSIGN.x=1", record[:13]+"=1")
	}
	cases["data after the end"] = tailed(t, "hello")
	cases["another archive after the end"] = tailed(t, "web/evil.yaml"+strings.Repeat("\x00", 499))
	for name, content := range cases {
		t.Run(name, func(t *testing.T) {
			r := helm(t, files{}, &rendererpb.Helm{ChartArchive: content})
			if r.Failure.GetCode() != codeArchive {
				t.Fatalf("want %s, got %v", codeArchive, r.Failure)
			}
		})
	}
	t.Logf("%d archives", len(cases))
	wantNames(t, helm(t, files{}, &rendererpb.Helm{ChartArchive: packed(t, good()...)}), "ConfigMap/x")
	wantNames(t, helm(t, files{}, &rendererpb.Helm{ChartArchive: packed(t, append([]member{special("web/", tar.TypeDir, "")}, good()...)...)}), "ConfigMap/x")
}

// renamed replaces bytes of the tar stream by others of the same length.
func renamed(t *testing.T, members []member, old, new string) []byte {
	t.Helper()
	raw := unzipped(t, packed(t, members...))
	if len(old) > len(new) {
		new = new[:len(new)-2] + strings.Repeat("x", len(old)-len(new)) + new[len(new)-2:]
	}
	return zippedBytes(t, bytes.Replace(raw, []byte(old), []byte(new[:len(old)]), 1))
}

func tailed(t *testing.T, tail string) []byte {
	t.Helper()
	return zippedBytes(t, append(unzipped(t, packed(t, good()...)), tail...))
}

func unzipped(t *testing.T, content []byte) []byte {
	t.Helper()
	reader, err := gzip.NewReader(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if _, err := out.ReadFrom(reader); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func zippedBytes(t *testing.T, content []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	writer := gzip.NewWriter(&out)
	if _, err := writer.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// THREATS 1.2: CVE-2025-32386, CVE-2024-29893, CVE-2022-23525, CVE-2023-30551, CVE-2026-48702, CVE-2026-55588,
// CVE-2021-29482.
func TestThreat_CVE_2025_32386_ArchiveBombsStopAtTheirLimit(t *testing.T) {
	half := strings.Repeat("\x00", chartBytesMax/2+1)
	nested := chartArchive(t, map[string]string{"db/Chart.yaml": "apiVersion: v2\nname: db\nversion: 1.0.0\n", "db/x": half})
	many := good()
	for i := range chartFilesMax + 1 {
		many = append(many, file(fmt.Sprintf("web/f/%d", i), ""))
	}
	for name, content := range map[string][]byte{
		"one large file":   packed(t, append(good(), file("web/x", half), file("web/y", half))...),
		"two dependencies": packed(t, append(good(), file("web/charts/a.tgz", string(nested)), file("web/charts/b.tgz", string(nested)))...),
		"many files":       packed(t, many...),
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			r := helm(t, files{}, &rendererpb.Helm{ChartArchive: content})
			if r.Failure.GetCode() != codeSize {
				t.Fatalf("want %s, got %v", codeSize, r.Failure)
			}
			if took := time.Since(start); took > 5*time.Second {
				t.Fatalf("took %v", took)
			}
		})
	}
}

func TestChartsWithinChartsEndSomewhere(t *testing.T) {
	inner := chartArchive(t, map[string]string{"a/Chart.yaml": "apiVersion: v2\nname: a\nversion: 1.0.0\n"})
	for range chartDepthMax + 2 {
		inner = chartArchive(t, map[string]string{"a/Chart.yaml": "apiVersion: v2\nname: a\nversion: 1.0.0\n", "a/charts/a.tgz": string(inner)})
	}
	if r := helm(t, files{}, &rendererpb.Helm{ChartArchive: inner}); r.Failure.GetCode() != codeSize {
		t.Fatal(r.Failure)
	}
}
