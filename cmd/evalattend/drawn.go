package main

import (
	"bufio"
	"encoding/json"
	"image"
	"image/color"
	"image/draw"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"

	xdraw "golang.org/x/image/draw"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/vision"
)

// A model of CLIP's kind is asked for drawn things, in a style that no model was trained on, which
// evaluate.py --sets lays under build: for single emoji, of a third to half of the side, on a plain
// ground; and for one thing of the trainer's test scenes (tools/train/xpipe_train/scenes.py), one
// to seven things on a plain or gently graded ground, of which there is one. The probability is
// that of its name among up to 40 of other scenes.

// thing is what a scene's list says of one thing in it.
type thing struct {
	Concept string     `json:"concept"`
	Box     [4]float64 `json:"box"` // x1, y1, x2, y2 in pixels
}

// drawn is a scene's file and one thing of those it has once.
type drawn struct {
	file string
	thing
}

// readDrawn takes one thing from each scene of a folder that has such.
func readDrawn(dir string, r *rand.Rand) ([]drawn, error) {
	f, err := os.Open(filepath.Join(dir, "boxes.jsonl"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var list []drawn
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var s struct {
			Image  string  `json:"image"`
			Things []thing `json:"things"`
		}
		if err := json.Unmarshal(lines.Bytes(), &s); err != nil {
			return nil, api.Inputf("%s: %w", f.Name(), err)
		}
		d := drawn{file: filepath.Join(dir, s.Image)}
		count := map[string]int{}
		for _, t := range s.Things {
			count[t.Concept]++
		}
		single := slices.DeleteFunc(s.Things, func(t thing) bool { return count[t.Concept] != 1 })
		if len(single) > 0 {
			d.thing = single[r.IntN(len(single))]
			list = append(list, d)
		}
	}
	return list, lines.Err()
}

// single draws n emoji of the held-out style, each alone.
func single(dir string, n int, r *rand.Rand) ([]*scene, error) {
	path := filepath.Join(dir, "index.json")
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var index struct {
		Names  map[string]string      `json:"names"`  // by code points
		Styles map[string][][2]string `json:"styles"` // file, code points
	}
	if err := json.Unmarshal(data, &index); err != nil {
		return nil, api.Inputf("%s: %w", path, err)
	}
	sprites := index.Styles["twitter"] // xpipe_train.sources.TEST_STYLE
	r.Shuffle(len(sprites), func(i, j int) { sprites[i], sprites[j] = sprites[j], sprites[i] })
	var scenes []*scene
	for _, sprite := range sprites[:min(n, len(sprites))] {
		img, err := vision.DecodeFile(filepath.Join(dir, sprite[0]))
		if err != nil {
			return nil, err
		}
		s := &scene{
			img: image.NewRGBA(image.Rect(0, 0, side, side)), caption: index.Names[sprite[1]],
		}
		s.ground = lightGround(r)
		draw.Draw(s.img, s.img.Rect, image.NewUniform(s.ground), image.Point{}, draw.Src)
		from := opaque(img)
		if from.Empty() {
			return nil, api.Inputf("%s: there is nothing in it", sprite[0])
		}
		long := side * (33 + r.IntN(18)) / 100
		w, h := long, long
		if from.Dx() > from.Dy() {
			h = max(1, long*from.Dy()/from.Dx())
		} else {
			w = max(1, long*from.Dx()/from.Dy())
		}
		x, y := r.IntN(side-w), r.IntN(side-h)
		s.box = image.Rect(x, y, x+w, y+h)
		xdraw.CatmullRom.Scale(s.img, s.box, img, from, xdraw.Over, nil)
		scenes = append(scenes, s)
	}
	return scenes, nil
}

// opaque is the smallest rectangle that holds all that is not transparent.
func opaque(img image.Image) image.Rectangle {
	var box image.Rectangle
	for y := img.Bounds().Min.Y; y < img.Bounds().Max.Y; y++ {
		for x := img.Bounds().Min.X; x < img.Bounds().Max.X; x++ {
			if _, _, _, a := img.At(x, y).RGBA(); a > 0x1000 {
				box = box.Union(image.Rect(x, y, x+1, y+1))
			}
		}
	}
	return box
}

// amongOthers is one thing of each scene of a folder.
func amongOthers(dir string, r *rand.Rand) ([]*scene, error) {
	list, err := readDrawn(dir, r)
	if err != nil {
		return nil, err
	}
	var scenes []*scene
	for _, d := range list {
		img, err := vision.DecodeFile(d.file)
		if err != nil {
			return nil, err
		}
		s := &scene{img: image.NewRGBA(img.Bounds()), caption: d.Concept}
		draw.Draw(s.img, s.img.Rect, img, img.Bounds().Min, draw.Src)
		s.box = image.Rect(int(d.Box[0]), int(d.Box[1]), int(d.Box[2]), int(d.Box[3]))
		s.ground = border(s.img)
		scenes = append(scenes, s)
	}
	r.Shuffle(len(scenes), func(i, j int) { scenes[i], scenes[j] = scenes[j], scenes[i] })
	return scenes, nil
}

// inTurn hands out scenes, each once.
func inTurn(scenes []*scene) func(*rand.Rand) *scene {
	const most = 40 // names that one might have
	next := 0
	return func(*rand.Rand) *scene {
		s := scenes[next]
		s.others = []string{s.caption}
		for i := 1; i < len(scenes) && len(s.others) < most; i++ {
			if name := scenes[(next+i)%len(scenes)].caption; !slices.Contains(s.others, name) {
				s.others = append(s.others, name)
			}
		}
		next++
		return s
	}
}

// border is the mean colour along a picture's edges, where scenes have their ground.
func border(img *image.RGBA) color.RGBA {
	var sum [3]int
	n := 0
	b := img.Rect
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			if x > b.Min.X && x < b.Max.X-1 && y > b.Min.Y && y < b.Max.Y-1 {
				continue
			}
			c := img.RGBAAt(x, y)
			sum[0], sum[1], sum[2], n = sum[0]+int(c.R), sum[1]+int(c.G), sum[2]+int(c.B), n+1
		}
	}
	return color.RGBA{uint8(sum[0] / n), uint8(sum[1] / n), uint8(sum[2] / n), 255}
}
