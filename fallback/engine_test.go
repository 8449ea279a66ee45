package fallback_test

import (
	"testing"

	"github.com/crossattn/xpipe/engine/enginetest"
	"github.com/crossattn/xpipe/fallback"
)

func TestConformance(t *testing.T) {
	enginetest.Run(t, fallback.New(), enginetest.Options{Supported: fallback.Supported})
}
