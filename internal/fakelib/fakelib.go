// Package fakelib makes files that pass for the shared library of ONNX Runtime, for tests.
package fakelib

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
)

// EntryPoint is the symbol that ONNX Runtime's library exports.
const EntryPoint = "OrtGetApiBase"

// Library is the smallest file that passes for the library on Linux, x86-64.
func Library() []byte { return ELF(elf.EM_X86_64, EntryPoint) }

// ELF is the smallest file that passes for a shared library with one exported symbol: header,
// one segment, a symbol table and its strings.
func ELF(machine elf.Machine, symbol string) []byte {
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
