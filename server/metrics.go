package server

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/pipeline/decode"
	"github.com/crossattn/xpipe/server/serving"
)

// metrics count what the server does, for Prometheus. It implements serving.Observer.
type metrics struct {
	registry *prometheus.Registry

	requests  *prometheus.CounterVec   // route, status
	durations *prometheus.HistogramVec // route
	running   prometheus.Gauge

	rows       *prometheus.HistogramVec // model
	waiting    *prometheus.GaugeVec     // model
	stepTimes  *prometheus.HistogramVec // model
	batches    *prometheus.HistogramVec // model, stage
	cache      *prometheus.CounterVec   // model, result
	texts      *prometheus.CounterVec   // model
	tokens     *prometheus.CounterVec   // model
	firstToken *prometheus.HistogramVec // model
	stages     *prometheus.CounterVec   // model, stage
	opened     *prometheus.CounterVec   // model, result
	openTimes  *prometheus.HistogramVec // model
}

// seconds are the buckets of times, sizes those of batches.
var (
	seconds = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120}
	sizes   = []float64{1, 2, 4, 8, 16, 32, 64, 128}
)

func newMetrics() *metrics {
	m := &metrics{registry: prometheus.NewRegistry()}
	r := prometheus.WrapRegistererWithPrefix("xpipe_", m.registry)
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
		r.MustRegister(c)
		return c
	}
	histogram := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
		r.MustRegister(h)
		return h
	}
	m.requests = counter("requests_total", "Requests answered.", "route", "status")
	m.durations = histogram("request_seconds", "Time from a request's header to the end of its answer.", seconds, "route")
	m.running = prometheus.NewGauge(prometheus.GaugeOpts{Name: "requests_running", Help: "Requests being answered."})
	m.waiting = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "queue_length", Help: "Texts that wait for room in a batch, at the latest step."}, []string{"model"})
	r.MustRegister(m.running, m.waiting)
	m.rows = histogram("batch_rows", "Texts that a step of the decoder continued.", sizes, "model")
	m.stepTimes = histogram("step_seconds", "Time of a step of the decoder.", seconds, "model")
	m.batches = histogram("batch_items", "Items of a batch of an encoder.", sizes, "model", "stage")
	m.cache = counter("cache_total", "Encoded pictures that were looked for.", "model", "result")
	m.texts = counter("texts_total", "Texts written.", "model")
	m.tokens = counter("tokens_total", "Tokens written.", "model")
	m.firstToken = histogram("first_token_seconds", "Time from a prompt to its text's first token.", seconds, "model")
	m.stages = counter("stage_seconds_total", "Time in each stage: of batches of encoders, and of texts from prompt to end.", "model", "stage")
	m.opened = counter("models_opened_total", "Models opened.", "model", "result")
	m.openTimes = histogram("model_open_seconds", "Time to open a model.", seconds, "model")
	return m
}

// watch adds what is asked of a service when somebody reads the metrics.
func (m *metrics) watch(s *serving.Service) {
	r := prometheus.WrapRegistererWithPrefix("xpipe_", m.registry)
	gauge := func(name, help string, value func() float64) {
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value))
	}
	gauge("models_open", "Models that are open.", func() float64 { return float64(len(s.Opened())) })
	gauge("models_open_bytes", "Size of the files of open models.", func() (sum float64) {
		for _, o := range s.Opened() {
			sum += float64(o.Bytes)
		}
		return sum
	})
	gauge("calls_running", "Uses of models that run or wait.", func() (sum float64) {
		for _, o := range s.Opened() {
			sum += float64(o.Users)
		}
		return sum
	})
	gauge("cache_bytes", "Memory of encoded pictures that are kept.", func() float64 { return float64(s.CacheBytes()) })
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4})
}

// Step implements serving.Observer, as the methods below do.
func (m *metrics) Step(model string, s decode.Step) {
	m.rows.WithLabelValues(model).Observe(float64(s.Rows))
	m.stepTimes.WithLabelValues(model).Observe(s.Took.Seconds())
	m.waiting.WithLabelValues(model).Set(float64(s.Waiting))
}

func (m *metrics) Batch(model, stage string, size int, took time.Duration) {
	m.batches.WithLabelValues(model, stage).Observe(float64(size))
	m.stages.WithLabelValues(model, stage).Add(took.Seconds())
}

func (m *metrics) Cache(model string, hit bool) {
	result := "miss"
	if hit {
		result = "hit"
	}
	m.cache.WithLabelValues(model, result).Inc()
}

func (m *metrics) Opened(model string, took time.Duration, err error) {
	m.opened.WithLabelValues(model, api.KindOf(err).Name).Inc()
	m.openTimes.WithLabelValues(model).Observe(took.Seconds())
}

func (m *metrics) Closed(model string) {
	m.waiting.DeleteLabelValues(model)
}

func (m *metrics) Text(model string, s pipeline.Stats) {
	m.texts.WithLabelValues(model).Inc()
	m.tokens.WithLabelValues(model).Add(float64(s.Tokens))
	if s.FirstToken > 0 {
		m.firstToken.WithLabelValues(model).Observe(s.FirstToken.Seconds())
	}
	m.stages.WithLabelValues(model, "generate").Add(s.Generate.Seconds())
}

// answered counts a request. Its route is the pattern that it met, so that paths of no route are one.
func (m *metrics) answered(r *http.Request, status int, took time.Duration) {
	route := r.Pattern
	if route == "" {
		route = "none"
	}
	m.requests.WithLabelValues(route, strconv.Itoa(status)).Inc()
	m.durations.WithLabelValues(route).Observe(took.Seconds())
}
