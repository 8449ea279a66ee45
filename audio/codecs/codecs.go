// Package codecs has package audio read FLAC, MP3, Ogg Vorbis and Ogg Opus, in programs that import it:
//
//	import _ "github.com/crossattn/xpipe/audio/codecs"
//
// The decoders are pure Go: github.com/mewkiz/flac, github.com/hajimehoshi/go-mp3,
// github.com/jfreymuth/oggvorbis and github.com/pion/opus. Samples equal libsndfile's, to the bit from
// FLAC, to rounding from Vorbis and the music mode of Opus, to 16 bits from MP3; the speech mode of
// Opus comes up to 4 samples of 48,000 a second early. MP3 of MPEG-2.5, Opus of more than two channels,
// and FLAC and Speex inside Ogg are not read.
package codecs

import (
	"bytes"
	"slices"

	"github.com/crossattn/xpipe/audio"
)

func init() {
	for _, f := range []audio.Format{
		{Name: "FLAC", Suffixes: []string{".flac"}, Is: func(head []byte) bool { return begins(head, "fLaC") }, Open: openFLAC},
		{Name: "Ogg", Suffixes: []string{".ogg", ".oga", ".opus"}, Is: func(head []byte) bool { return begins(head, "OggS") },
			Open: openOgg},
		{Name: "MP3", Suffixes: []string{".mp3"}, Is: isMP3, Open: openMP3},
	} {
		audio.RegisterFormat(f)
	}
}

func begins(head []byte, magics ...string) bool {
	return slices.ContainsFunc(magics, func(m string) bool { return bytes.HasPrefix(head, []byte(m)) })
}
