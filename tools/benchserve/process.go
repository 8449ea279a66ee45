package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// process is a server under test.
type process struct {
	cmd     *exec.Cmd
	address string // http://HOST:PORT
	stderr  bytes.Buffer
}

// freePort returns an address that nobody listens at.
func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// serve starts the program and waits until it answers.
func (b *bench) serve(ctx context.Context, args ...string) (*process, error) {
	address, err := freePort()
	if err != nil {
		return nil, err
	}
	args = append([]string{"serve", "--listen", address, "--engine", "go", "--no-studio", "--log-level", "error"}, args...)
	return start(ctx, address, "/readyz", b.program, args...)
}

func start(ctx context.Context, address, ready, name string, args ...string) (*process, error) {
	p := &process{cmd: exec.CommandContext(ctx, name, args...), address: "http://" + address}
	p.cmd.Stderr = &p.stderr
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	for began := time.Now(); time.Since(began) < 2*time.Minute; time.Sleep(20 * time.Millisecond) {
		if answer, err := http.Get(p.address + ready); err == nil {
			answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return p, nil
			}
		}
	}
	p.stop()
	return nil, fmt.Errorf("%s does not answer: %s", name, p.stderr.String())
}

func (p *process) stop() {
	p.cmd.Process.Signal(os.Interrupt)
	done := make(chan error, 1)
	go func() { done <- p.cmd.Wait() }()
	select {
	case <-done:
	case <-time.After(40 * time.Second):
		p.cmd.Process.Kill()
		<-done
	}
}

// memory is what a process takes, in MiB.
type memory struct {
	Resident  float64 `json:"resident"`  // with the pages of files that are mapped
	Peak      float64 `json:"peak"`      // of the same, since it started
	Anonymous float64 `json:"anonymous"` // without pages of files, those that are shared by their share
}

func (m memory) String() string {
	return fmt.Sprintf("%.0f (at most %.0f, %.0f anonymous)", m.Resident, m.Peak, m.Anonymous)
}

func (p *process) memory() memory {
	return memory{round(p.status("VmRSS")), round(p.status("VmHWM")), round(p.sizeIn("smaps_rollup", "Pss_Anon"))}
}

// status reads a size of the process, such as VmRSS or VmHWM, in MiB.
func (p *process) status(key string) float64 { return p.sizeIn("status", key) }

// sizeIn reads a size in one of the system's files about the process, in MiB.
func (p *process) sizeIn(file, key string) float64 {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", p.cmd.Process.Pid, file))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, key+":"); ok {
			kib, _ := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 64)
			return kib / 1024
		}
	}
	return 0
}
