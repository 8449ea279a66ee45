package own_test

import (
	"encoding/json"
	"net/http"
	"reflect"
	"strings"
	"testing"
)

const (
	cat = "image=@images/000000039769.jpg"
	wav = "audio=@speech/jfk.flac"
)
