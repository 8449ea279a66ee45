package api

import (
	"errors"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/models"
	"github.com/crossattn/xpipe/models/mini"
)

// Engines whose library is missing are told of, with advice; the fallback captions a picture.
func TestDiagnose(t *testing.T) {
	t.Parallel()
	config := EngineConfig{Libraries: map[string]string{}}
	for _, row := range Engines {
		if row.Library != "" {
			config.Libraries[row.Name] = "no/such/library"
		}
	}
	d := Diagnose(t.Context(), "v1", config)
	if err := d.Err(); err != nil || !d.OK || d.XPipe != "v1" || d.Engine != Engines[0].Name {
		t.Errorf("%v: %+v", err, d)
	}
	if m := d.Model; !m.OK || m.Name != mini.Default || m.Files == 0 || m.Bytes == 0 {
		t.Errorf("%+v", m)
	}
	if d.CPU.Name == "" || d.CPU.Threads < 1 || len(d.Tools) == 0 {
		t.Errorf("%+v, %+v", d.CPU, d.Tools)
	}
	if len(d.Advice) != len(Engines)-1 {
		t.Errorf("advice %+v", d.Advice)
	}
	for i, row := range Engines {
		state, known := d.Engines[row.Name]
		if works := i == 0; !known || state.Trial.OK != works || (state.Trial.Problem == "") != works {
			t.Errorf("%s: %+v", row.Name, state)
		}
	}
}

// A broken model is the model's fault, engines that all fail are the engines'.
func TestDiagnosisErr(t *testing.T) {
	t.Parallel()
	m := examineModel("no such model")
	if m.OK || m.Problem == "" {
		t.Errorf("an unknown model: %+v", m)
	}
	d := Diagnosis{Model: m, Engines: map[string]EngineState{
		Engines[0].Name: {Trial: CaptionTrial{Problem: "broken"}},
	}}
	if err := d.Err(); !errors.Is(err, models.ErrBundle) || !strings.Contains(err.Error(), m.Problem) {
		t.Error(err)
	}
	d.Model.OK = true
	if err := d.Err(); !errors.Is(err, engine.ErrEngine) || !strings.Contains(err.Error(), "broken") {
		t.Error(err)
	}
}
