package vision

import (
	"bytes"
	"encoding/binary"
	"math"
	"strings"
	"time"
)

// Taken says when and where a picture was taken, as its file has it.
type Taken struct {
	// Time is zero where the file does not say it. Without a time zone in the file it is in UTC.
	Time time.Time
	// Latitude and Longitude are in degrees, north and east above 0; NaN where the file does not say.
	Latitude, Longitude float64
}

// Tags of Exif 3.0 and TIFF 6.
const (
	tagDateTime   = 0x0132
	tagExif       = 0x8769
	tagGPS        = 0x8825
	tagOriginal   = 0x9003
	tagOffset     = 0x9011
	tagNorthSouth = 1
	tagLatitude   = 2
	tagEastWest   = 3
	tagLongitude  = 4
)

// TakenOf reads the Exif block of a JPEG, PNG, WebP or TIFF file. What is not there or makes no sense is
// left out.
func TakenOf(data []byte) Taken {
	t := Taken{Latitude: math.NaN(), Longitude: math.NaN()}
	b := exifBlock(data)
	for range 2 {
		b = bytes.TrimPrefix(b, []byte("Exif\x00\x00"))
	}
	if len(b) < 8 || !hasTIFFPrefix(b) {
		return t
	}
	var order binary.ByteOrder = binary.LittleEndian
	if b[0] == 'M' {
		order = binary.BigEndian
	}
	dir := exifDirectory{b, order, int64(order.Uint32(b[4:]))}
	exif, camera := dir.below(tagExif)
	for _, source := range []struct {
		dir exifDirectory
		ok  bool
		tag uint16
	}{{exif, camera, tagOriginal}, {dir, true, tagDateTime}} {
		if !source.ok || !t.Time.IsZero() {
			continue
		}
		zone := time.UTC
		if camera {
			if z, err := time.Parse("-07:00", exif.text(tagOffset)); err == nil {
				zone = z.Location()
			}
		}
		if at, err := time.ParseInLocation("2006:01:02 15:04:05", source.dir.text(source.tag), zone); err == nil {
			t.Time = at
		}
	}
	if gps, ok := dir.below(tagGPS); ok {
		north, east := gps.degrees(tagLatitude, tagNorthSouth, "S", 90), gps.degrees(tagLongitude, tagEastWest, "W", 180)
		if !math.IsNaN(north) && !math.IsNaN(east) {
			t.Latitude, t.Longitude = north, east
		}
	}
	return t
}

// exifDirectory is a directory of an Exif block.
type exifDirectory struct {
	data  []byte
	order binary.ByteOrder
	at    int64
}

// below is the directory that a tag points to.
func (d exifDirectory) below(tag uint16) (exifDirectory, bool) {
	value, kind := findTag(d.data, d.order, d.at, tag)
	if value == nil || kind != 4 && kind != 13 {
		return d, false
	}
	d.at = int64(d.order.Uint32(value))
	return d, true
}

func (d exifDirectory) text(tag uint16) string {
	value, kind := findTag(d.data, d.order, d.at, tag)
	if kind != 2 {
		return ""
	}
	text, _, _ := strings.Cut(string(value), "\x00")
	return strings.TrimSpace(text)
}

// degrees reads degrees, minutes and seconds; negative where another tag says so. NaN stands for none,
// and for more than most.
func (d exifDirectory) degrees(tag, side uint16, negative string, most float64) float64 {
	value, kind := findTag(d.data, d.order, d.at, tag)
	if kind != 5 || len(value) < 24 {
		return math.NaN()
	}
	sum := 0.0
	for i, unit := range []float64{1, 60, 3600} {
		over, under := d.order.Uint32(value[8*i:]), d.order.Uint32(value[8*i+4:])
		if under == 0 {
			if over != 0 || i == 0 {
				return math.NaN()
			}
			continue
		}
		sum += float64(over) / float64(under) / unit
	}
	if sum > most {
		return math.NaN()
	}
	if strings.EqualFold(d.text(side), negative) {
		return -sum
	}
	return sum
}

// exifBlock finds the Exif block of a file, nil if there is none.
func exifBlock(data []byte) []byte {
	switch {
	case isJPEG(data):
		for at := 2; at+4 <= len(data) && data[at] == 0xff; {
			marker, size := data[at+1], int(binary.BigEndian.Uint16(data[at+2:]))
			if marker == 0xff { // a byte to fill up
				at++
				continue
			}
			if marker == 0xda || size < 2 || at+2+size > len(data) {
				break
			}
			if segment := data[at+4 : at+2+size]; marker == 0xe1 && bytes.HasPrefix(segment, []byte("Exif\x00\x00")) {
				return segment
			}
			at += 2 + size
		}
	case isPNG(data):
		return pngChunk(data[8:], "eXIf")
	case isWebP(data):
		chunks, _ := readChunks(data[12:]) // those before an error, too
		for _, c := range chunks {
			if c.kind == "EXIF" {
				return c.data
			}
		}
	case isTIFF(data):
		return data
	}
	return nil
}

// pngChunk finds the first chunk of a name, nil if there is none.
func pngChunk(data []byte, name string) []byte {
	for len(data) >= 12 {
		size, this := int64(binary.BigEndian.Uint32(data)), string(data[4:8])
		if size+12 > int64(len(data)) {
			return nil
		}
		if this == name {
			return data[8 : 8+size]
		}
		data = data[size+12:]
	}
	return nil
}
