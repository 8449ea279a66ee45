package ortfile

import (
	"bytes"
	"debug/elf"
	"debug/macho"
	"debug/pe"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"unicode/utf16"
)

// entryPoint is the one symbol through which a program reaches the C API.
const entryPoint = "OrtGetApiBase"

// Inspect checks, without loading it, that the file at path is an ONNX Runtime library for this
// operating system and processor, that none of it is missing, and that it is new enough; a file cut
// short would kill the process that loads it. It returns the version as far as the file tells.
func Inspect(path string) (version string, err error) {
	return This.Inspect(path)
}

// Inspect is the function Inspect for a machine.
func (m Machine) Inspect(path string) (version string, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", errorf("%w", err)
	}
	if !info.Mode().IsRegular() {
		return "", errorf("%s is no file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return "", errorf("%w", err)
	}
	defer f.Close()
	version, err = inspectReader(f, info.Size(), m.OS, m.Arch)
	if err != nil {
		return "", errorf("%s %w", path, err)
	}
	if version == "" {
		version = versionInName(path)
	}
	if err := checkVersion(version); err != nil {
		return version, errorf("%s %w", path, err)
	}
	return version, nil
}

// problem completes a sentence that starts with a file's path.
type problem string

func (p problem) Error() string { return string(p) }

const damaged = problem("is damaged or cut short")

func inspectReader(r io.ReaderAt, size int64, goos, goarch string) (string, error) {
	var magic [4]byte
	if _, err := r.ReadAt(magic[:], 0); err != nil {
		return "", problem("is no shared library (too short)")
	}
	switch {
	case string(magic[:]) == elf.ELFMAG:
		if goos == "windows" || goos == "darwin" {
			return "", problem("is a library for Linux or the like, not for " + goos)
		}
		return inspectELF(r, size, goarch)
	case string(magic[:2]) == "MZ":
		if goos != "windows" {
			return "", problem("is a library for windows, not for " + goos)
		}
		return inspectPE(r, size, goarch)
	}
	switch binary.BigEndian.Uint32(magic[:]) {
	case macho.MagicFat, macho.Magic64, 0xcffaedfe:
		if goos != "darwin" {
			return "", problem("is a library for darwin, not for " + goos)
		}
		return inspectMachO(r, size, goarch)
	}
	return "", problem("is no shared library")
}

func inspectELF(r io.ReaderAt, size int64, goarch string) (string, error) {
	f, err := elf.NewFile(r)
	if err != nil {
		return "", damaged
	}
	defer f.Close()
	machines := map[elf.Machine]string{
		elf.EM_X86_64: "amd64", elf.EM_AARCH64: "arm64", elf.EM_386: "386", elf.EM_ARM: "arm",
		elf.EM_RISCV: "riscv64", elf.EM_PPC64: "ppc64le", elf.EM_S390: "s390x",
		elf.EM_LOONGARCH: "loong64",
	}
	if err := checkArch(machines[f.Machine], f.Machine.String(), goarch); err != nil {
		return "", err
	}
	if f.Type != elf.ET_DYN {
		return "", problem("is no shared library")
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_LOAD && (p.Off > uint64(size) || p.Filesz > uint64(size)-p.Off) {
			return "", damaged
		}
	}
	symbols, err := f.DynamicSymbols()
	if err != nil {
		return "", damaged
	}
	for _, s := range symbols {
		if s.Name == entryPoint && s.Section != elf.SHN_UNDEF {
			// Symbols carry the release: OrtGetApiBase@@VERS_1.24.4.
			return strings.TrimPrefix(s.Version, "VERS_"), nil
		}
	}
	return "", notORT
}

const notORT = problem("is a shared library, but not ONNX Runtime's: it lacks " + entryPoint)

func checkArch(arch, name, goarch string) error {
	if arch == goarch {
		return nil
	}
	if arch == "" {
		arch = name
	}
	return problem("is a library for " + arch + " processors; this program is built for " + goarch)
}

func inspectMachO(r io.ReaderAt, size int64, goarch string) (string, error) {
	arch := func(c macho.Cpu) string {
		return map[macho.Cpu]string{macho.CpuAmd64: "amd64", macho.CpuArm64: "arm64"}[c]
	}
	var f *macho.File
	if fat, err := macho.NewFatFile(r); err == nil {
		defer fat.Close()
		for _, a := range fat.Arches {
			if arch(a.Cpu) == goarch {
				if int64(a.Offset)+int64(a.Size) > size {
					return "", damaged
				}
				f, size = a.File, int64(a.Size)
			}
		}
		if f == nil {
			return "", problem("is a library for other processors; this program is built for " + goarch)
		}
	} else if f, err = macho.NewFile(r); err != nil {
		return "", damaged
	}
	if err := checkArch(arch(f.Cpu), f.Cpu.String(), goarch); err != nil {
		return "", err
	}
	if f.Type != macho.TypeDylib {
		return "", problem("is no shared library")
	}
	for _, l := range f.Loads {
		if s, ok := l.(*macho.Segment); ok &&
			(s.Offset > uint64(size) || s.Filesz > uint64(size)-s.Offset) {
			return "", damaged
		}
	}
	if f.Symtab == nil {
		return "", notORT
	}
	for _, s := range f.Symtab.Syms {
		if s.Name == "_"+entryPoint {
			return machOVersion(f), nil
		}
	}
	return "", notORT
}

// machOVersion finds the release in the library's own name, which a load command (LC_ID_DYLIB)
// holds: @rpath/libonnxruntime.1.24.4.dylib.
func machOVersion(f *macho.File) string {
	const idDylib = 0xd
	for _, l := range f.Loads {
		raw := l.Raw()
		if len(raw) < 12 || f.ByteOrder.Uint32(raw) != idDylib {
			continue
		}
		if at := f.ByteOrder.Uint32(raw[8:]); int(at) < len(raw) {
			return versionInName(string(bytes.TrimRight(raw[at:], "\x00")))
		}
	}
	return ""
}

func inspectPE(r io.ReaderAt, size int64, goarch string) (string, error) {
	f, err := pe.NewFile(r)
	if err != nil {
		return "", damaged
	}
	defer f.Close()
	machines := map[uint16]string{
		pe.IMAGE_FILE_MACHINE_AMD64: "amd64",
		pe.IMAGE_FILE_MACHINE_ARM64: "arm64",
		pe.IMAGE_FILE_MACHINE_I386:  "386",
	}
	if err := checkArch(machines[f.Machine], "other", goarch); err != nil {
		return "", err
	}
	if f.Characteristics&pe.IMAGE_FILE_DLL == 0 {
		return "", problem("is no shared library")
	}
	found, version := false, ""
	for _, s := range f.Sections {
		if int64(s.Offset)+int64(s.Size) > size {
			return "", damaged
		}
		switch s.Name {
		case ".rdata", ".edata": // names of exported functions
			data, err := s.Data()
			if err != nil {
				return "", damaged
			}
			found = found || bytes.Contains(data, []byte("\x00"+entryPoint+"\x00"))
		case ".rsrc":
			data, err := s.Data()
			if err != nil {
				return "", damaged
			}
			version = peVersion(data)
		}
	}
	if !found {
		return "", notORT
	}
	return version, nil
}

// peVersion finds the string after ProductVersion in a version resource.
func peVersion(rsrc []byte) string {
	var key []byte
	for _, u := range utf16.Encode([]rune("ProductVersion")) {
		key = binary.LittleEndian.AppendUint16(key, u)
	}
	at := bytes.Index(rsrc, key)
	if at < 0 {
		return ""
	}
	var text []rune
	for rest := rsrc[at+len(key):]; len(rest) >= 2; rest = rest[2:] {
		u := binary.LittleEndian.Uint16(rest)
		if u == 0 {
			if len(text) > 0 {
				break
			}
			continue
		}
		text = append(text, rune(u))
	}
	return FindVersion(string(text))
}

var versionRE = regexp.MustCompile(`[0-9]+\.[0-9]+(\.[0-9]+)?`)

// FindVersion returns the first version in a text, such as 1.24.4; "" where there is none.
func FindVersion(text string) string { return versionRE.FindString(text) }

// versionInName finds the version in libonnxruntime.so.1.24.4 or libonnxruntime.1.24.4.dylib; one
// number, as in libonnxruntime.so.1, is none.
func versionInName(path string) string {
	return FindVersion(filepath.Base(path))
}
