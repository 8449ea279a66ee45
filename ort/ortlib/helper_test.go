package ortlib

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"debug/elf"
	"encoding/binary"
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"
)

// fakeELF is the smallest file that passes for a shared library with one exported symbol: header,
// one segment, a symbol table and its strings.
func fakeELF(machine elf.Machine, symbol string) []byte {
	const ehsize, phsize, shsize, symsize = 64, 56, 64, 24
	strings := "\x00" + symbol + "\x00"
	shstrings := "\x00.dynsym\x00.dynstr\x00.shstrtab\x00"
	symAt := ehsize + phsize
	strAt := symAt + 2*symsize
	shstrAt := strAt + len(strings)
	shAt := (shstrAt + len(shstrings) + 7) &^ 7
	var b bytes.Buffer
	put := func(v any) { binary.Write(&b, binary.LittleEndian, v) }
	h := elf.Header64{Type: uint16(elf.ET_DYN), Machine: uint16(machine), Version: 1, Phoff: ehsize, Shoff: uint64(shAt), Ehsize: ehsize, Phentsize: phsize, Phnum: 1, Shentsize: shsize, Shnum: 4, Shstrndx: 3}
	copy(h.Ident[:], elf.ELFMAG+"\x02\x01\x01")
	put(h)
	put(elf.Prog64{Type: uint32(elf.PT_LOAD), Flags: 5, Filesz: uint64(shAt), Memsz: uint64(shAt), Align: 4096})
	put(elf.Sym64{})
	put(elf.Sym64{Name: 1, Info: uint8(elf.STB_GLOBAL)<<4 | uint8(elf.STT_FUNC), Shndx: 1, Value: 64, Size: 1})
	b.WriteString(strings + shstrings)
	b.Write(make([]byte, shAt-b.Len()))
	put(elf.Section64{})
	put(elf.Section64{Name: 1, Type: uint32(elf.SHT_DYNSYM), Off: uint64(symAt), Size: 2 * symsize, Link: 2, Info: 1, Entsize: symsize})
	put(elf.Section64{Name: 9, Type: uint32(elf.SHT_STRTAB), Off: uint64(strAt), Size: uint64(len(strings))})
	put(elf.Section64{Name: 17, Type: uint32(elf.SHT_STRTAB), Off: uint64(shstrAt), Size: uint64(len(shstrings))})
	return b.Bytes()
}

func fakeLibrary() []byte { return fakeELF(elf.EM_X86_64, entryPoint) }

func sum(data []byte) string {
	s := sha256.Sum256(data)
	return hex.EncodeToString(s[:])
}

// pin adds a library to libraryPins for the length of a test.
func pin(t *testing.T, data []byte) {
	libraryPins[sum(data)] = t.Name()
	t.Cleanup(func() { delete(libraryPins, sum(data)) })
}

type entry struct{ name, content string }

func zipOf(entries ...entry) []byte {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, e := range entries {
		w, _ := z.Create(e.name)
		w.Write([]byte(e.content))
	}
	z.Close()
	return b.Bytes()
}

func tgzOf(entries ...entry) []byte {
	var b bytes.Buffer
	gz := gzip.NewWriter(&b)
	w := tar.NewWriter(gz)
	for _, e := range entries {
		w.WriteHeader(&tar.Header{Name: e.name, Mode: 0o644, Size: int64(len(e.content)), Typeflag: tar.TypeReg})
		w.Write([]byte(e.content))
	}
	w.WriteHeader(&tar.Header{Name: "lib/libonnxruntime.so", Linkname: "../../../etc/passwd", Typeflag: tar.TypeSymlink})
	w.Close()
	gz.Close()
	return b.Bytes()
}

// write puts a file into a new folder, or below dir if the name has folders.
func write(t *testing.T, dir, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}
